//! Commands on queues and policers of slices that run.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use fastpath::id::{InterfaceId, SliceId};
use fastpath::node::{Policing, Policy, QueueRequest, Remains, ShareRequest};
use fastpath::queue::policy::{CoDelConfig, QueueCounts, RedConfig, RedUnit, Tally};
use fastpath::queue::{QueueConfig, Rate};
use fastpath::time::Nanos;
use serde_json::{Value, json};

use super::config::SlicePlan;
use super::{Handle, OCTETS};

/// What it is called, its slice's own number, and what was asked for.
pub(crate) type Queues = BTreeMap<String, (u16, QueueRequest)>;

/// The queues that a slice is admitted with.
pub(crate) fn of_plan(plan: &SlicePlan) -> Queues {
    let queues = plan.queues.iter().zip((0..).zip(&plan.request.queues));
    queues.map(|(name, (number, request))| (name.clone(), (number, *request))).collect()
}

/// A slice that runs, to be given other queues.
pub(crate) struct Running<'a> {
    pub(crate) slice: SliceId,
    pub(crate) handle: &'a Handle,
    pub(crate) queues: &'a mut Queues,
}

type Said = Result<String, String>;

fn said(error: impl Display) -> String {
    error.to_string()
}

fn number<T: FromStr + Into<u64> + Copy>(
    key: &str, text: &str, range: RangeInclusive<u64>,
) -> Result<T, String> {
    let number: Option<T> = text.parse().ok().filter(|number: &T| range.contains(&(*number).into()));
    number.ok_or_else(|| format!("{key}={text}: allowed is {} to {}", range.start(), range.end()))
}

/// Two numbers, as in 20-60.
fn pair(key: &str, text: &str, range: RangeInclusive<u64>) -> Result<(u32, u32), String> {
    let (low, high) = text.split_once('-').ok_or_else(|| format!("{key}={text}: allowed is LOW-HIGH"))?;
    Ok((number(key, low, range.clone())?, number(key, high, range)?))
}

/// `request` with what `words` say, each KEY=VALUE. `rate` is that of its interface.
fn changed(mut request: QueueRequest, words: &[&str], rate: Rate) -> Result<QueueRequest, String> {
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{word}: allowed is KEY=VALUE"))?;
        match key {
            "weight" => request.weight = number(key, value, 1..=QueueConfig::MAX_WEIGHT.into())?,
            "limit_packets" => request.limit_packets = number(key, value, 1..=1 << 22)?,
            "limit_octets" => request.limit_octets = number(key, value, 1..=1 << 40)?,
            "priority" => {
                request.priority = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(format!("{word}: allowed is yes, no")),
                }
            }
            "policy" if value == "tail" => request.policy = Policy::TailDrop,
            "policy" => {
                return Err(format!("{word}: allowed is tail; there are red=MIN-MAX and codel=US-US"));
            }
            "red" => {
                let (min, max) = pair(key, value, 1..=(1 << 30) - 1)?;
                let packet = (8_000_000_000_000 / rate.get()).clamp(1, u32::MAX.into());
                let config = RedConfig::recommended(RedUnit::Packets, min, Nanos(packet));
                let curves = config.curves.map(|curve| fastpath::queue::policy::RedCurve { max, ..curve });
                request.policy = Policy::Red(RedConfig { curves, ..config });
            }
            "codel" => {
                let (target, interval) = pair(key, value, 2..=4_000_000)?;
                let [target, interval] = [target, interval].map(|us| Nanos::from_micros(us.into()));
                let longest = OCTETS as u32;
                request.policy = Policy::CoDel(CoDelConfig { target, interval, longest, marks: true });
            }
            _ => {
                return Err(format!(
                    "{key} is no key; there are: weight, limit_packets, limit_octets, priority, policy, red, codel"
                ));
            }
        }
    }
    Ok(request)
}

impl Running<'_> {
    fn queue(&self, name: &str) -> Result<(u16, QueueRequest), String> {
        self.queues.get(name).copied().ok_or_else(|| format!("the slice has no queue {name}"))
    }

    pub(crate) fn add(&mut self, name: &str, at: InterfaceId, rate: Rate, words: &[&str]) -> Said {
        if self.queues.contains_key(name) {
            return Err(format!("there is a queue {name} already"));
        }
        let request = changed(QueueRequest::new(at, 1), words, rate)?;
        let added = self.handle.add_queue(self.slice, request).map_err(said)?.map_err(said)?;
        self.queues.insert(name.into(), (added, request));
        Ok(format!("number {added}"))
    }

    pub(crate) fn set(&mut self, name: &str, rate: Rate, words: &[&str]) -> Said {
        let (at, request) = self.queue(name)?;
        let request = changed(request, words, rate)?;
        self.handle.change_queue(self.slice, at, request).map_err(said)?.map_err(said)?;
        self.queues.insert(name.into(), (at, request));
        Ok(String::new())
    }

    /// Takes a queue away; its number.
    /// The number of a queue that there is, if what is to become of its packets can be.
    pub(crate) fn may_remove(&self, name: &str, remains: &str) -> Result<u16, String> {
        self::remains(remains)?;
        Ok(self.queue(name)?.0)
    }

    pub(crate) fn remove(&mut self, name: &str, remains: &str) -> Said {
        let remains = self::remains(remains)?;
        let (at, _) = self.queue(name)?;
        self.handle.remove_queue(self.slice, at, remains).map_err(said)?.map_err(said)?;
        self.queues.remove(name);
        Ok(String::new())
    }

    pub(crate) fn share(&self, interface: InterfaceId, weight: &str) -> Said {
        let weight = number("weight", weight, 1..=QueueConfig::MAX_WEIGHT.into())?;
        let set = self.handle.set_share(self.slice, ShareRequest { interface, weight }).map_err(said)?;
        set.map(|()| String::new()).map_err(said)
    }

    /// Holds the slice, or a link, to a rate; `None` lets all in.
    pub(crate) fn police(&self, link: Option<u16>, limit: Option<(&str, &str)>) -> Said {
        let of = |(rate, burst): (&str, &str)| {
            let bits = number("rate", rate, 1000..=Rate::MAX.get())?;
            let rate = Rate::bits_per_second(bits).map_err(said)?;
            Ok::<_, String>(Policing::limit(rate, number("burst", burst, 1..=1 << 30)?))
        };
        let policing = limit.map(of).transpose()?;
        let set = self.handle.set_policer(self.slice, link, policing).map_err(said)?;
        set.map(|()| String::new()).map_err(said)
    }

    /// What became of the packets of each queue, where that is counted.
    pub(crate) fn report(&self) -> Said {
        let mut report = serde_json::Map::new();
        for (name, (number, _)) in self.queues.iter() {
            let (slice, number) = (self.slice, *number);
            let counts = self.handle.ask(move |worker, _| worker.forward().queue_counts(slice, number));
            report.insert(name.clone(), counts.map_err(said)?.map_or(Value::Null, |counts| figures(&counts)));
        }
        Ok(Value::Object(report).to_string())
    }
}

fn figures(counts: &QueueCounts) -> Value {
    let packets = |tally: Tally| tally.packets;
    json!({
        "taken": packets(counts.taken),
        "sent": packets(counts.sent),
        "marked": packets(counts.marked),
        "waiting": packets(counts.waiting()),
        "queue_full": packets(counts.full),
        "no_buffer": packets(counts.no_buffer),
        "too_long": packets(counts.too_long),
        "queue_policy": packets(counts.policy),
        "queue_delay": packets(counts.dropped),
        "queue_deleted": packets(counts.flushed),
    })
}

fn remains(text: &str) -> Result<Remains, String> {
    match text {
        "send" => Ok(Remains::Send),
        "drop" => Ok(Remains::Drop),
        _ => Err(format!("{text}: what waits can be `send` or `drop`")),
    }
}
