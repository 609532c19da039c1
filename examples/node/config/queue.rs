//! Queues, how interfaces share themselves among them, and what may come in.

use fastpath::node::{
    Levels, Metering, Policing, Policy, PriorityClass, QueueRequest, Scheduling, ShareRequest,
};
use fastpath::queue::meter::{
    Action, MeterError, Mode, SingleRate, SingleRateConfig, TwoRate, TwoRateConfig,
};
use fastpath::queue::policy::{CoDel, CoDelConfig, Red, RedConfig, RedCurve, RedUnit};
use fastpath::queue::{QueueConfig, Rate};
use fastpath::time::Nanos;

use super::Plan;
use super::check::Reader;
use super::error::{ConfigError, What};
use super::file::{CoDelTable, InterfaceTable, PoliceTable, QueueTable, RedTable, ShareTable, Whole};

impl Reader<'_> {
    /// How an interface shares itself among its queues.
    pub(super) fn scheduling(
        &self, table: &InterfaceTable, longest: u32, queues: u32,
    ) -> Result<Scheduling, ConfigError> {
        let source = self.source;
        let levels = match source.whole_or("levels", table.levels.as_ref(), 1..=2, 1u32)? {
            2 => Levels::Slices,
            _ => Levels::Queues,
        };
        let class = |table: &super::file::PriorityTable| {
            let most = u64::from(queues.next_power_of_two() - 1);
            let burst = u64::from(longest)..=u64::from(u32::MAX / 2);
            Ok(PriorityClass {
                queues: source.whole("queues", &table.queues, 1..=most.max(1))?,
                rate: self.rate("rate", &table.rate)?,
                burst: source.whole_or("burst", table.burst.as_ref(), burst, 2 * longest)?,
            })
        };
        let priority = table.priority.as_ref().map(class).transpose()?;
        let managed = table.policies || levels == Levels::Slices || priority.is_some();
        Ok(if managed { Scheduling::Managed { levels, priority } } else { Scheduling::Plain })
    }

    pub(super) fn rate(&self, key: &'static str, value: &Whole) -> Result<Rate, ConfigError> {
        let range = 1000..=Rate::MAX.get();
        let rate: u64 = self.source.whole(key, value, range.clone())?;
        let refused = |_| self.source.value(key, &value.span(), What::Range(range));
        Rate::bits_per_second(rate).map_err(refused)
    }

    pub(super) fn share(&self, table: &ShareTable) -> Result<ShareRequest, ConfigError> {
        let most = QueueConfig::MAX_WEIGHT.into();
        let weight = self.source.whole("weight", &table.weight, 1..=most)?;
        Ok(ShareRequest { interface: self.interface_number(&table.interface)?, weight })
    }

    pub(super) fn queue(&self, plan: &Plan, table: &QueueTable) -> Result<QueueRequest, ConfigError> {
        let source = self.source;
        let interface = self.interface_number(&table.interface)?;
        let weight = source.whole("weight", &table.weight, 1..=QueueConfig::MAX_WEIGHT.into())?;
        let default = QueueRequest::new(interface, weight);
        let packets = table.limit_packets.as_ref();
        let octets = table.limit_octets.as_ref();
        let name = table.interface.get_ref().clone();
        let at = plan.interfaces.get(usize::from(interface.0));
        let config = at.map(|at| at.config);
        let scheduling = config.map(|config| config.scheduling).unwrap_or_default();
        if let Some(priority) = table.priority.as_ref().filter(|priority| *priority.get_ref())
            && scheduling.priority().is_none()
        {
            return Err(source.value("priority", &priority.span(), What::NoPriority(name)));
        }
        let rate = config.map_or(Rate::MAX, |config| config.rate);
        let (policy, at) = match (&table.red, &table.codel) {
            (Some(red), Some(_)) => {
                let what = What::Form("one of `red` and `codel`");
                return Err(source.value("red", &red.span(), what));
            }
            (Some(red), None) => (self.red(red.get_ref(), rate)?, Some(("red", red.span()))),
            (None, Some(codel)) => {
                let longest = plan.limits.longest_frame;
                (self.codel(codel.get_ref(), longest, codel.span())?, Some(("codel", codel.span())))
            }
            (None, None) => (Policy::TailDrop, None),
        };
        if let (Scheduling::Plain, Some((key, span))) = (scheduling, at) {
            return Err(source.value(key, &span, What::Plain(name)));
        }
        Ok(QueueRequest {
            limit_packets: source.whole_or("limit_packets", packets, 1..=1 << 22, default.limit_packets)?,
            limit_octets: source.whole_or("limit_octets", octets, 1..=1 << 40, default.limit_octets)?,
            policy,
            priority: table.priority.as_ref().is_some_and(|priority| *priority.get_ref()),
            ..default
        })
    }

    /// A class of its own, or all others: how many queues of an interface there may be beside.
    pub(super) fn room(plan: &Plan, queue: &QueueRequest) -> u64 {
        let queues = plan.limits.queues.next_power_of_two();
        let at = plan.interfaces.get(usize::from(queue.interface.0));
        let class = at.and_then(|at| at.config.scheduling.priority()).map_or(0, |class| class.queues);
        u64::from(if queue.priority { class } else { queues - class.min(queues) })
            .min(plan.limits.queues.into())
    }

    fn red(&self, table: &RedTable, rate: Rate) -> Result<Policy, ConfigError> {
        let source = self.source;
        let whole = |key, value: &Whole| source.whole::<u32>(key, value, 1..=(1 << 30) - 1);
        let percent = source.whole_or("percent", table.percent.as_ref(), 1..=100, 10u32)?;
        let curve = |min: &Whole, max: &Whole| {
            let max_p = (percent << 16) / 100;
            let curve = RedCurve { min: whole("min", min)?, max: whole("max", max)?, max_p };
            match curve.min < curve.max {
                true => Ok(curve),
                false => Err(source.value("max", &max.span(), What::Form("more than `min`"))),
            }
        };
        let green = curve(&table.min, &table.max)?;
        let other = |pair: &Option<(Whole, Whole)>, or| match pair {
            Some((min, max)) => curve(min, max),
            None => Ok(or),
        };
        let yellow = other(&table.yellow, green)?;
        // What 1,000 octets take at the interface.
        let packet = (8_000_000_000_000 / rate.get()).clamp(1, u32::MAX.into());
        let packet = source.whole_or("packet_ns", table.packet_ns.as_ref(), 1..=u32::MAX.into(), packet)?;
        let unit = if table.octets { RedUnit::Octets } else { RedUnit::Packets };
        let config = RedConfig {
            curves: [green, yellow, other(&table.red, yellow)?],
            marks: table.marks.unwrap_or(true),
            ..RedConfig::recommended(unit, green.min, Nanos(packet))
        };
        let refused = |error| What::Refused(format!("{error}"));
        Red::new(config).map_err(|error| source.value("min", &table.min.span(), refused(error)))?;
        Ok(Policy::Red(config))
    }

    fn codel(
        &self, table: &CoDelTable, longest: u32, span: std::ops::Range<usize>,
    ) -> Result<Policy, ConfigError> {
        let (source, default) = (self.source, CoDelConfig::INTERNET);
        let micros = |key, value: Option<&Whole>, default: Nanos| {
            let micros = source.whole_or(key, value, 2..=4_000_000, default.0 / 1000)?;
            Ok::<_, ConfigError>(Nanos::from_micros(micros))
        };
        let config = CoDelConfig {
            target: micros("target_us", table.target_us.as_ref(), default.target)?,
            interval: micros("interval_us", table.interval_us.as_ref(), default.interval)?,
            longest,
            marks: table.marks.unwrap_or(true),
        };
        let refused = |error| What::Refused(format!("{error}"));
        CoDel::new(config).map_err(|error| source.value("codel", &span, refused(error)))?;
        Ok(Policy::CoDel(config))
    }

    /// What a slice or a link may send in.
    pub(super) fn police(&self, table: &PoliceTable) -> Result<Policing, ConfigError> {
        let source = self.source;
        let cir = self.rate("rate", &table.rate)?;
        let octets = |key, value: &Whole| source.whole::<u32>(key, value, 0..=1 << 30);
        let cbs = octets("burst", &table.burst)?;
        let mode = if table.colour_aware { Mode::ColourAware } else { Mode::ColourBlind };
        let meter = match (&table.excess, &table.peak_rate, &table.peak_burst) {
            (_, None, None) => {
                let ebs = source.whole_or("excess", table.excess.as_ref(), 0..=1 << 30, 0)?;
                Metering::SingleRate(SingleRateConfig { cir, cbs, ebs, mode })
            }
            (None, Some(rate), Some(burst)) => {
                let (pir, pbs) = (self.rate("peak_rate", rate)?, octets("peak_burst", burst)?);
                Metering::TwoRate(TwoRateConfig { cir, cbs, pir, pbs, mode })
            }
            _ => {
                let what = What::Form("with `excess` alone, or with both `peak_rate` and `peak_burst`");
                return Err(source.value("rate", &table.rate.span(), what));
            }
        };
        let made: Result<(), MeterError> = match meter {
            Metering::SingleRate(config) => SingleRate::new(config).map(|_| ()),
            Metering::TwoRate(config) => TwoRate::new(config).map(|_| ()),
        };
        let refused = |error| What::Refused(format!("{error}"));
        made.map_err(|error| source.value("burst", &table.burst.span(), refused(error)))?;
        Ok(Policing { meter, actions: Action::MARK_AND_DROP })
    }
}
