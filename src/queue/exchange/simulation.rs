//! An exchange in simulated time: fluid queues at nodes that look at their rates when they
//! please, late, or never.

use proptest::prelude::*;

use super::{Coordinator, Exchange, Member, Plan};
use crate::queue::Rate;
use crate::time::Nanos;

/// A period, and the parts of it in which time goes on.
const PERIOD: u64 = 1_000_000;
const STEPS: u64 = 20;
const STEP: u64 = PERIOD / STEPS;

const GIGABIT: u64 = 1_000_000_000;

type Shared<'a, const N: usize, const M: usize> = &'a Exchange<N, M>;

/// How a node behaves.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Steps from one look at its rates to the next, and from one report to the next.
    looks: u64,
    reports: u64,
    /// Looks and reports happen this many steps later.
    phase: u64,
    stalled: bool,
}

const PROMPT: Habit = Habit { looks: 1, reports: STEPS, phase: 0, stalled: false };

/// Once a period, both.
const SLOW: Habit = Habit { looks: STEPS, reports: STEPS, phase: 0, stalled: false };

struct World<'a, const N: usize, const M: usize> {
    coordinator: Coordinator<Shared<'a, N, M>, N, M>,
    exchange: Shared<'a, N, M>,
    members: [Option<Member<Shared<'a, N, M>, N, M>>; N],
    /// What sums must keep to.
    limits: Plan<N, M>,
    habits: [Habit; N],
    /// Steps from one run of the coordinator to the next.
    runs: u64,
    step: u64,
    in_force: [[u64; M]; N],
    /// Octets that wait, that come in a second, that were sent.
    queues: [[f64; M]; N],
    offered: [[f64; M]; N],
    sent: [[f64; M]; N],
    /// The highest sum that was in force, for each interface.
    highest: [u64; M],
}

impl<'a, const N: usize, const M: usize> World<'a, N, M> {
    fn new(exchange: Shared<'a, N, M>, plan: Plan<N, M>, habit: Habit, runs: u64) -> Self {
        Self {
            coordinator: Coordinator::new(exchange, plan).unwrap(),
            exchange,
            members: core::array::from_fn(|at| Member::join(exchange, at)),
            limits: plan,
            habits: [habit; N],
            runs,
            step: 0,
            in_force: [[0; M]; N],
            queues: [[0.0; M]; N],
            offered: [[0.0; M]; N],
            sent: [[0.0; M]; N],
            highest: [0; M],
        }
    }

    fn now(&self) -> Nanos {
        Nanos(self.step * STEP)
    }

    /// What must hold at every instant.
    fn check(&mut self) {
        for (j, rate) in self.limits.interfaces.iter().enumerate() {
            let sum = self.in_force.iter().map(|row| row[j]).sum();
            assert!(sum <= rate.map_or(0, Rate::get), "interface {j}: {:?}", self.in_force);
            self.highest[j] = self.highest[j].max(sum);
        }
        for (i, rate) in self.limits.nodes.iter().enumerate() {
            let sum: u64 = self.in_force[i].iter().sum();
            assert!(sum <= rate.map_or(0, Rate::get), "node {i}: {:?}", self.in_force);
            for j in 0..M {
                assert!(self.in_force[i][j] <= self.coordinator.counted(i, j), "counted {i} {j}");
            }
        }
    }

    /// The node reads its rates; `meanwhile`, between the reading of one and its coming into
    /// force, the coordinator may run.
    fn look(&mut self, i: usize, mut meanwhile: impl FnMut() -> bool) {
        let now = self.now();
        let Self { members, coordinator, in_force, limits, .. } = self;
        members[i].as_mut().unwrap().rates(|j, rate| {
            if meanwhile() {
                // It grants something else, and then looks what was confirmed.
                coordinator.run(now);
                coordinator.run(now);
            }
            in_force[i][j] = rate.map_or(0, Rate::get);
            assert!(in_force[i][j] <= coordinator.counted(i, j));
            assert!(in_force[i].iter().sum::<u64>() <= limits.nodes[i].map_or(0, Rate::get));
        });
        self.check();
    }

    /// The member goes, and another takes its seat, and sends nothing before it has looked.
    fn replace(&mut self, i: usize) {
        self.members[i] = None;
        self.members[i] = Member::join(self.exchange, i);
        assert!(self.members[i].is_some());
        self.in_force[i] = [0; M];
    }

    /// The owner says that the node sends nothing, and that is so.
    fn gone(&mut self, i: usize) {
        self.in_force[i] = [0; M];
        self.coordinator.gone(i);
    }

    fn report(&mut self, i: usize) {
        let backlogs = self.queues[i].map(|octets| octets as u64);
        self.members[i].as_mut().unwrap().report(&backlogs);
    }

    fn serve(&mut self) {
        for i in 0..N {
            for j in 0..M {
                let here = self.queues[i][j] + self.offered[i][j] * STEP as f64 / 1e9;
                let sent = here.min(self.in_force[i][j] as f64 / 8e9 * STEP as f64);
                self.queues[i][j] = here - sent;
                self.sent[i][j] += sent;
            }
        }
    }

    fn step(&mut self) {
        for i in 0..N {
            let Habit { looks, reports, phase, stalled } = self.habits[i];
            let at = self.step + phase;
            if !stalled && at.is_multiple_of(reports) {
                self.report(i);
            }
            if !stalled && at.is_multiple_of(looks) {
                self.look(i, || false);
            }
        }
        if self.step.is_multiple_of(self.runs) {
            self.coordinator.run(self.now());
            self.check();
        }
        self.serve();
        self.step += 1;
    }

    fn periods(&mut self, periods: u64) {
        (0..periods * STEPS).for_each(|_| self.step());
    }

    /// Two periods, until it is reported and computed, and two looks and runs: one for what is
    /// to fall and one for what is to rise.
    fn react(&mut self) {
        let looks = self.habits.iter().map(|habit| habit.looks).max().unwrap();
        (0..2 * (STEPS + looks + self.runs)).for_each(|_| self.step());
    }

    /// In Mb/s, of an interface.
    fn rates(&self, j: usize) -> [u64; N] {
        self.in_force.map(|row| (row[j] + 500_000) / 1_000_000)
    }

    fn sent(&self, j: usize) -> f64 {
        self.sent.iter().map(|row| row[j]).sum()
    }
}

fn plan<const N: usize, const M: usize>(node: u64) -> Plan<N, M> {
    let rate = |bits| Rate::bits_per_second(bits).ok();
    Plan::new([rate(GIGABIT); M], [rate(node); N], Nanos(PERIOD))
}

/// Octets that an interface sends in a period.
const LT: f64 = 125_000.0;

/// Both who look often and who look once a period, at whatever time of it.
fn whatever_the_phase(check: impl Fn(Habit, u64)) {
    for phase in 0..STEPS {
        check(Habit { phase, ..PROMPT }, 1);
        check(Habit { phase, ..SLOW }, 1);
        check(Habit { phase, ..SLOW }, STEPS);
    }
}

#[test]
fn who_stops_leaves_its_rate_to_others_after_two_periods() {
    whatever_the_phase(|habit, runs| {
        let exchange = Exchange::<2, 1>::new();
        let mut world = World::new(&exchange, plan(5 * GIGABIT), habit, runs);
        (world.queues[0][0], world.queues[1][0]) = (100.0 * LT, 100.0 * LT);
        world.periods(8);
        assert_eq!(world.rates(0), [500, 500], "{habit:?}");
        world.queues[0][0] = 0.0;
        world.react();
        assert_eq!(world.rates(0), [5, 995], "{habit:?} {runs}");
    });
}

#[test]
fn who_starts_has_its_share_after_two_periods() {
    whatever_the_phase(|habit, runs| {
        let exchange = Exchange::<2, 1>::new();
        let mut world = World::new(&exchange, plan(5 * GIGABIT), habit, runs);
        world.queues[0][0] = 1000.0 * LT;
        world.periods(8);
        assert_eq!(world.rates(0), [995, 5], "{habit:?}");
        let here = world.queues[0][0];
        world.queues[1][0] = here;
        world.react();
        let [first, second] = world.rates(0);
        assert!(first.abs_diff(500) <= 5 && second.abs_diff(500) <= 5, "{habit:?} {first} {second}");
        assert!(world.in_force[0][0] + world.in_force[1][0] >= GIGABIT / 1000 * 995);
    });
}

/// An interface with enough to send sends, whatever shares do, but for the floors of who is idle
/// and for what fell and has not risen elsewhere.
#[test]
fn an_interface_that_is_waited_for_sends_at_its_rate() {
    let exchange = Exchange::<3, 2>::new();
    let mut world = World::new(&exchange, plan(5 * GIGABIT), PROMPT, 1);
    world.queues = [[50.0 * LT, 10.0 * LT], [10.0 * LT, 0.0], [0.0, 90.0 * LT]];
    // The first computation comes with the second report at the latest.
    world.periods(2);
    let before = [world.sent(0), world.sent(1)];
    for periods in 1..=40 {
        // Shares change all the time: who waits most gets more.
        let more = periods as usize % 3;
        world.queues[more][0] += 6.0 * LT;
        world.queues[(more + 1) % 3][1] += 6.0 * LT;
        world.periods(1);
        for (j, before) in before.into_iter().enumerate() {
            // A step in each period is lost of what moves from one to another.
            let sent = world.sent(j) - before;
            assert!(sent >= 0.97 * LT * f64::from(periods), "{periods}: {}", sent / LT);
        }
    }
    assert!(world.highest.iter().all(|sum| *sum > GIGABIT - 3));
}

/// What is reported with what arrived comes to rest; neither queue grows.
#[test]
fn loads_below_the_rate_are_served_without_queues() {
    let exchange = Exchange::<2, 1>::new();
    let mut world = World::new(&exchange, plan(5 * GIGABIT), PROMPT, 1);
    world.offered = [[0.8 * 125e6], [0.1 * 125e6]];
    for _ in 0..50 {
        for i in 0..2 {
            let octets = world.queues[i][0] + world.offered[i][0] * PERIOD as f64 / 1e9;
            world.members[i].as_mut().unwrap().report(&[octets as u64]);
            world.habits[i].reports = u64::MAX;
            world.habits[i].phase = 1;
        }
        world.periods(1);
    }
    let longest = world.queues.iter().map(|row| row[0]).fold(0.0, f64::max);
    assert!(longest < 0.02 * LT, "{longest}");
}

#[test]
fn a_node_that_stalls_keeps_what_it_had_and_others_share_the_rest() {
    let exchange = Exchange::<3, 1>::new();
    let mut world = World::new(&exchange, plan(5 * GIGABIT), PROMPT, 1);
    world.queues = [[600.0 * LT], [200.0 * LT], [200.0 * LT]];
    world.periods(3);
    assert_eq!(world.rates(0), [600, 200, 200]);
    world.habits[0].stalled = true;
    // It is not heard of; others do not wait for it, and it is counted as long as need be.
    (world.queues[1], world.queues[2]) = ([300.0 * LT], [100.0 * LT]);
    world.periods(8);
    let [stalled, more, less] = world.rates(0);
    assert_eq!(stalled + more + less, 1000);
    assert!(stalled == 600 && more.abs_diff(300) <= 3 && less.abs_diff(100) <= 3, "{more} {less}");
    // What is left follows their backlogs.
    (world.queues[1], world.queues[2]) = ([200.0 * LT], [200.0 * LT]);
    world.periods(2);
    let [stalled, one, other] = world.rates(0);
    assert!(stalled == 600 && one.abs_diff(200) <= 3 && other.abs_diff(200) <= 3, "{one} {other}");
    // It is there again, reads that it has nothing, and has its share when it has reported.
    world.habits[0].stalled = false;
    world.step();
    assert_eq!(world.rates(0)[0], 0);
    world.periods(2);
    let sum: f64 = world.queues.iter().map(|row| row[0]).sum();
    let due = (world.queues[0][0] / sum * 1000.0) as u64;
    assert!(world.rates(0)[0].abs_diff(due) <= 10, "{:?} {due}", world.rates(0));
    assert!(world.rates(0).iter().sum::<u64>() >= 999);
}

#[test]
fn who_is_gone_is_counted_no_more_until_it_is_back() {
    let exchange = Exchange::<2, 1>::new();
    let mut world = World::new(&exchange, plan(5 * GIGABIT), PROMPT, 1);
    world.queues = [[500.0 * LT], [500.0 * LT]];
    world.periods(3);
    world.habits[0].stalled = true;
    world.periods(6);
    assert!(world.rates(0)[1] <= 500, "nobody may have its rate");
    world.gone(0);
    assert_eq!(world.coordinator.counted(0, 0), 0);
    world.periods(2);
    assert_eq!(world.rates(0), [0, 1000]);
    world.queues[0] = world.queues[1];
    world.habits[0].stalled = false;
    world.periods(2);
    assert!(world.rates(0).iter().all(|rate| rate.abs_diff(500) <= 2), "{:?}", world.rates(0));
    // Numbers there are not, are nobody's.
    world.coordinator.gone(2);
    assert_eq!((world.coordinator.counted(2, 0), world.coordinator.counted(0, 1)), (0, 0));
}

/// Two nodes, of which the first has all but a floor, or the floor only.
fn one_sided(first: bool, exchange: &Exchange<2, 1>) -> World<'_, 2, 1> {
    let mut world = World::new(exchange, plan(5 * GIGABIT), PROMPT, 1);
    world.queues[usize::from(!first)][0] = 1e9;
    world.periods(3);
    assert_eq!(world.rates(0), if first { [995, 5] } else { [5, 995] });
    world
}

/// A node reads a rise, and is about to put it in force when it is taken back: what it
/// confirmed before, at the same rate as it is to have now, says nothing.
#[test]
fn an_old_confirmation_of_the_same_rate_counts_for_nothing() {
    let exchange = Exchange::<2, 1>::new();
    let mut world = one_sided(false, &exchange);
    // The second node falls and confirms, and the first is granted what it had.
    world.queues = [[1e9], [0.0]];
    (0..2).for_each(|i| world.report(i));
    world.step = world.step.next_multiple_of(STEPS) + STEPS;
    world.coordinator.run(world.now());
    world.look(1, || false);
    world.coordinator.run(world.now());
    assert!(world.coordinator.counted(0, 0) > 990_000_000);
    // It is idle before it has looked; what `look` checks is what is counted then.
    world.queues[0][0] = 0.0;
    world.queues[1][0] = 1e9;
    (0..2).for_each(|i| world.report(i));
    world.step += STEPS;
    world.look(0, || true);
    assert_eq!(world.rates(0), [995, 5], "as it was read");
    world.look(1, || false);
    world.look(0, || false);
    world.coordinator.run(world.now());
    world.look(1, || false);
    assert_eq!(world.rates(0), [5, 995]);
}

/// What a node did not yet give up, it may have back at once.
#[test]
fn a_fall_that_nobody_saw_is_taken_back() {
    let exchange = Exchange::<2, 1>::new();
    let mut world = one_sided(true, &exchange);
    for octets in [0.0, 1e9] {
        world.queues[0][0] = octets;
        world.report(0);
        world.step += STEPS;
        world.coordinator.run(world.now());
    }
    world.look(0, || false);
    assert_eq!(world.rates(0), [995, 5]);
}

#[test]
fn an_interface_that_becomes_slower_is_kept_to_after_a_period() {
    let exchange = Exchange::<2, 1>::new();
    let mut world = World::new(&exchange, plan(5 * GIGABIT), PROMPT, 1);
    world.queues = [[100.0 * LT], [300.0 * LT]];
    world.periods(3);
    let less = Plan { interfaces: [Rate::bits_per_second(GIGABIT / 2).ok()], ..world.limits };
    world.coordinator.set_plan(less);
    world.periods(1);
    world.step();
    world.limits = less;
    world.periods(2);
    let [few, many] = world.rates(0);
    assert!(few.abs_diff(125) <= 3 && many.abs_diff(375) <= 3, "{few} {many}");
}

#[test]
fn a_clock_that_steps_does_not_stop_it() {
    let exchange = Exchange::<2, 1>::new();
    let mut world = one_sided(true, &exchange);
    let mut octets = 1e9;
    for now in [u64::MAX, 0, 1 << 63, 5, 5 + PERIOD] {
        (world.queues[0][0], octets) = (octets, 1e9 - octets);
        world.queues[1][0] = octets;
        for _ in 0..3 {
            (0..2).for_each(|i| world.report(i));
            world.coordinator.run(Nanos(now));
            (0..2).for_each(|i| world.look(i, || false));
        }
        let expected = if octets == 0.0 { [995, 5] } else { [5, 995] };
        assert_eq!(world.rates(0), expected, "{now}");
    }
}

#[test]
fn a_seat_is_one_members_and_an_exchange_one_coordinators() {
    let exchange = Exchange::<2, 1>::new();
    let first = Member::join(&exchange, 1).unwrap();
    assert_eq!(first.node(), 1);
    assert!(Member::join(&exchange, 1).is_none() && Member::join(&exchange, 2).is_none());
    drop(first);
    let mut second = Member::join(&exchange, 1).unwrap();
    assert!(Coordinator::new(&exchange, plan(GIGABIT)).is_some());
    assert!(Coordinator::new(&exchange, plan(GIGABIT)).is_none());
    let mut told = std::vec::Vec::new();
    second.rates(|at, rate| told.push((at, rate)));
    second.rates(|at, rate| told.push((at, rate)));
    assert_eq!(told, [(0, None)], "once, and that it may not send");
}

/// What happens in a random history.
#[derive(Clone, Debug)]
enum Event {
    Report(usize),
    Look(usize),
    /// Looks, and the coordinator runs between reading and applying.
    SlowLook(usize),
    Run,
    Time(u64),
    Queue(usize, usize, u32),
    Gone(usize),
    /// A member goes, and another takes its seat.
    Replaced(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0usize..3;
    prop_oneof![
        4 => node.clone().prop_map(Event::Report),
        4 => node.clone().prop_map(Event::Look),
        2 => node.clone().prop_map(Event::SlowLook),
        6 => Just(Event::Run),
        6 => (0..2 * STEPS).prop_map(Event::Time),
        4 => (node.clone(), 0usize..2, prop_oneof![Just(0), 0u32..2_000_000])
            .prop_map(|(i, j, octets)| Event::Queue(i, j, octets)),
        1 => node.clone().prop_map(Event::Gone),
        1 => node.prop_map(Event::Replaced),
    ]
}

impl World<'_, 3, 2> {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Report(i) => self.report(i),
            Event::Look(i) => self.look(i, || false),
            Event::SlowLook(i) => self.look(i, || true),
            Event::Run => self.coordinator.run(self.now()),
            Event::Time(steps) => self.step += steps,
            Event::Queue(i, j, octets) => self.queues[i][j] = octets.into(),
            Event::Gone(i) => self.gone(i),
            Event::Replaced(i) => self.replace(i),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whoever does what when: what is in force never adds up to more than there is.
    #[test]
    fn sums_hold_at_every_instant(
        capacity in prop::sample::select(std::vec![GIGABIT / 2, 5 * GIGABIT]),
        weights in prop::array::uniform3(prop::array::uniform2(0u32..4)),
        events in prop::collection::vec(event(), 1..300),
    ) {
        let exchange = Exchange::<3, 2>::new();
        let plan = Plan { weights, ..plan(capacity) };
        let mut world = World::new(&exchange, plan, PROMPT, 1);
        for event in events {
            world.happen(event);
            world.check();
        }
    }

    /// Whatever went before, who looks and reports in time has its share after two periods.
    #[test]
    fn order_returns_after_any_history(events in prop::collection::vec(event(), 1..200)) {
        let exchange = Exchange::<3, 2>::new();
        let mut world = World::new(&exchange, plan(5 * GIGABIT), PROMPT, 1);
        for event in events {
            world.happen(event);
        }
        world.step = world.step.next_multiple_of(STEPS);
        world.queues = [[1000.0 * LT; 2]; 3];
        world.periods(3);
        for j in 0..2 {
            prop_assert!(world.rates(j).iter().all(|rate| rate.abs_diff(333) <= 3), "{:?}", world.rates(j));
        }
    }
}
