//! The computation of rates against what it promises.

use proptest::prelude::*;

use super::{Loads, Plan};
use crate::queue::Rate;
use crate::time::Nanos;

const NODES: usize = 4;
const INTERFACES: usize = 3;

type Rates = [[u64; INTERFACES]; NODES];

fn rate(bits: u64) -> Option<Rate> {
    Rate::bits_per_second(bits).ok()
}

fn bits(rate: Option<Rate>) -> u64 {
    rate.map_or(0, Rate::get)
}

fn loads<const N: usize, const M: usize>(nodes: [[u64; M]; N]) -> Loads<N, M> {
    Loads { nodes, interfaces: [0; M] }
}

const GIGABIT: u64 = 1_000_000_000;

fn gigabit<const N: usize, const M: usize>(node: u64) -> Plan<N, M> {
    Plan::new([rate(GIGABIT); M], [rate(node); N], Nanos::from_millis(1))
}

#[test]
fn shares_are_in_proportion_to_backlog_and_weight() {
    let mut plan = gigabit::<2, 1>(5 * GIGABIT);
    assert_eq!(plan.rates(&loads([[300], [100]])), [[750_000_000], [250_000_000]]);
    plan.weights = [[1], [9]];
    assert_eq!(plan.rates(&loads([[300], [100]])), [[250_000_000], [750_000_000]]);
    plan.weights = [[0], [9]];
    assert_eq!(plan.rates(&loads([[300], [100]])), [[5_000_000], [995_000_000]], "the floor only");
}

#[test]
fn an_idle_node_keeps_a_floor_and_an_idle_interface_is_there_for_all() {
    let plan = gigabit::<2, 1>(5 * GIGABIT);
    assert_eq!(plan.rates(&loads([[300], [0]])), [[995_000_000], [5_000_000]]);
    assert_eq!(plan.rates(&loads([[0], [0]])), [[500_000_000], [500_000_000]]);
    // One octet is not worse than none.
    assert_eq!(plan.rates(&loads([[1 << 40], [1]]))[1], [5_000_000]);
    let absent = Plan { nodes: [rate(5 * GIGABIT), None], ..plan };
    assert_eq!(absent.rates(&loads([[1], [1]])), [[1_000_000_000], [0]]);
    assert_eq!(Plan { interfaces: [None], ..plan }.rates(&loads([[1], [1]])), [[0], [0]]);
}

/// The first node waits for both interfaces and can fill one; the second waits for the first
/// interface. Worked out by hand: floors of 5 Mb/s, pulls of 495, 995 and 495, and 990 to give.
#[test]
fn what_a_node_cannot_use_goes_to_those_who_wait_elsewhere() {
    let mut plan = gigabit::<2, 2>(5 * GIGABIT);
    plan.nodes[0] = rate(GIGABIT);
    let rates = plan.rates(&loads([[1000, 1000], [1000, 0]]));
    let cut = 990.0 / 1490.0;
    let expected = [[5.0 + 495.0 * cut, 5.0 + 995.0 * cut], [995.0 - 495.0 * cut, 995.0 - 995.0 * cut]];
    for (rate, expected) in rates.iter().flatten().zip(expected.iter().flatten()) {
        assert!((*rate as f64 - expected * 1e6).abs() < 4.0, "{rates:?}");
    }
}

#[test]
fn who_can_do_without_for_a_period_pulls_less() {
    let plan = Plan { nodes: [rate(GIGABIT)], ..gigabit::<1, 2>(GIGABIT) };
    let even = plan.rates(&loads([[100_000, 100_000]]));
    assert_eq!(even, [[500_000_000; 2]]);
    // A period sends 125,000 octets; what is beyond that is as much as waits at the node.
    let safe = Loads { nodes: [[100_000; 2]], interfaces: [225_000, 125_000] };
    let [[less, more]] = plan.rates(&safe);
    // Floors are 5 Mb/s each, and pulls as 1 to 2 of the rest.
    assert!(less.abs_diff(335_000_000) <= 1 && more.abs_diff(665_000_000) <= 1, "{less} {more}");
    // With capacity to spare, it is as if it did not.
    let spare = Plan { nodes: [rate(5 * GIGABIT)], ..plan };
    assert_eq!(spare.rates(&safe), [[GIGABIT; 2]]);
}

fn some_rate() -> impl Strategy<Value = Option<Rate>> {
    prop_oneof![
        1 => Just(None),
        6 => (1u64..20).prop_map(|units| rate(units * 100_000_000)),
        2 => (1000u64..1_000_000_000_000).prop_map(rate),
        1 => (1000u64..2000).prop_map(rate),
        1 => Just(Some(Rate::MAX)),
    ]
}

fn backlog() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 6 => 1u64..5_000_000, 1 => 1u64..10, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![5 => Just(1), 2 => 1u32..10, 1 => Just(0), 1 => any::<u32>()]
}

fn case() -> impl Strategy<Value = (Plan<NODES, INTERFACES>, Loads<NODES, INTERFACES>)> {
    (
        prop::array::uniform3(some_rate()),
        prop::array::uniform4(some_rate()),
        prop::array::uniform4(prop::array::uniform3(weight())),
        prop::array::uniform4(prop::array::uniform3(backlog())),
        prop::array::uniform3(backlog()),
        0u64..10_000_000,
    )
        .prop_map(|(interfaces, nodes, weights, backlogs, own, period)| {
            let plan = Plan { interfaces, nodes, weights, period: Nanos(period) };
            (plan, Loads { nodes: backlogs, interfaces: own })
        })
}

/// What one expects, from the formulas of the documentation in floating point.
struct Expected {
    floor: [[f64; INTERFACES]; NODES],
    /// Weighed backlog; 0 is not to wait.
    weighed: [[f64; INTERFACES]; NODES],
    pull: [[f64; INTERFACES]; NODES],
}

fn expected(plan: &Plan<NODES, INTERFACES>, loads: &Loads<NODES, INTERFACES>) -> Expected {
    let count = plan.nodes.iter().flatten().count() as f64;
    let most = (1_u64 << 44) as f64;
    let mut is = Expected {
        floor: [[0.0; INTERFACES]; NODES],
        weighed: [[0.0; INTERFACES]; NODES],
        pull: [[0.0; INTERFACES]; NODES],
    };
    for j in 0..INTERFACES {
        let rate = bits(plan.interfaces[j]) as f64;
        let mut octets = 0.0;
        for i in 0..NODES {
            let node = bits(plan.nodes[i]) as f64;
            is.floor[i][j] = ((rate / count.max(1.0)).min(node / INTERFACES as f64) / 100.0).floor();
            if plan.nodes[i].is_some() && plan.weights[i][j] > 0 {
                let backlog = (loads.nodes[i][j] as f64).min(most);
                octets += backlog;
                is.weighed[i][j] = backlog * f64::from(plan.weights[i][j].min(65_536));
            }
        }
        let total: f64 = (0..NODES).map(|i| is.weighed[i][j]).sum();
        let sent = (rate * plan.period.0 as f64 / 8e9).floor();
        let beyond = ((loads.interfaces[j] as f64).min(most) - sent).max(0.0);
        for i in 0..NODES {
            if is.weighed[i][j] > 0.0 {
                let above = (rate * is.weighed[i][j] / total - is.floor[i][j]).max(0.0);
                is.pull[i][j] = (above * octets / (octets + beyond)).max(1.0 / 65_536.0);
            }
        }
    }
    is
}

fn node_sum(rates: &Rates, i: usize) -> u64 {
    rates[i].iter().sum()
}

fn interface_sum(rates: &Rates, j: usize) -> u64 {
    rates.iter().map(|row| row[j]).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn sums_keep_to_interfaces_and_nodes((plan, loads) in case()) {
        let rates = plan.rates(&loads);
        for i in 0..NODES {
            prop_assert!(node_sum(&rates, i) <= bits(plan.nodes[i]), "node {}: {:?}", i, rates);
        }
        for j in 0..INTERFACES {
            prop_assert!(interface_sum(&rates, j) <= bits(plan.interfaces[j]), "{}: {:?}", j, rates);
        }
    }

    /// Who waits either is at its node's capacity, or shares an interface of which only floors
    /// go to those who do not wait.
    #[test]
    fn no_interface_idles_beside_a_node_that_could_fill_it((plan, loads) in case()) {
        let (rates, is) = (plan.rates(&loads), expected(&plan, &loads));
        for (i, j) in (0..NODES).flat_map(|i| (0..INTERFACES).map(move |j| (i, j))) {
            if is.weighed[i][j] == 0.0 || node_sum(&rates, i) + INTERFACES as u64 > bits(plan.nodes[i]) {
                continue;
            }
            let to_idle: f64 = (0..NODES)
                .filter(|k| is.weighed[*k][j] == 0.0)
                .map(|k| rates[k][j] as f64 - is.floor[k][j])
                .sum();
            prop_assert!(to_idle <= NODES as f64, "{} {} {:?}", i, j, rates);
            prop_assert!(interface_sum(&rates, j) + NODES as u64 > bits(plan.interfaces[j]), "{:?}", rates);
        }
        // What nobody waits for is shared out, too.
        for (i, j) in (0..NODES).flat_map(|i| (0..INTERFACES).map(move |j| (i, j))) {
            let node_has_room = node_sum(&rates, i) + 2 * INTERFACES as u64 <= bits(plan.nodes[i]);
            let interface_has = interface_sum(&rates, j) + 2 * NODES as u64 <= bits(plan.interfaces[j]);
            prop_assert!(!node_has_room || !interface_has || plan.weights[i][j] == 0, "{:?}", rates);
        }
    }

    #[test]
    fn floors_are_kept_whatever_waits((plan, loads) in case()) {
        let (rates, is) = (plan.rates(&loads), expected(&plan, &loads));
        for (rate, floor) in rates.iter().flatten().zip(is.floor.iter().flatten()) {
            prop_assert!(*rate as f64 >= *floor, "{} {}", rate, floor);
        }
    }

    /// Weighted max-min: who waits meets a limit where nobody has more for its pull.
    #[test]
    fn rates_are_weighted_max_min((plan, loads) in case()) {
        let (rates, is) = (plan.rates(&loads), expected(&plan, &loads));
        let above = |i: usize, j: usize| rates[i][j] as f64 - is.floor[i][j];
        // Rounding, of each of the flows that were settled before.
        let slack = (2 * NODES + 2 * INTERFACES) as f64;
        for (i, j) in (0..NODES).flat_map(|i| (0..INTERFACES).map(move |j| (i, j))) {
            if is.weighed[i][j] == 0.0 {
                continue;
            }
            let nobody_has_more = |k: usize, l: usize| {
                // A pull is known to some parts in 2^16 of a bit a second.
                let grain = 4.0 / 65_536.0;
                let fair = (above(i, j) + slack) * (is.pull[k][l] + grain) / (is.pull[i][j] - grain).max(0.0);
                is.weighed[k][l] == 0.0 || above(k, l) <= fair * 1.0001 + slack
            };
            let node = node_sum(&rates, i) + INTERFACES as u64 > bits(plan.nodes[i])
                && (0..INTERFACES).all(|l| nobody_has_more(i, l));
            let interface = interface_sum(&rates, j) + NODES as u64 > bits(plan.interfaces[j])
                && (0..NODES).all(|k| nobody_has_more(k, j));
            prop_assert!(node || interface, "{} {} {:?}", i, j, rates);
        }
    }

    #[test]
    fn equal_backlogs_have_equal_rates_and_others_by_weight((plan, mut loads) in case()) {
        // Two that are alike, whatever the others do.
        let mut plan = plan;
        (plan.nodes[1], plan.weights[1], loads.nodes[1]) = (plan.nodes[0], plan.weights[0], loads.nodes[0]);
        let rates = plan.rates(&loads);
        for j in 0..INTERFACES {
            prop_assert!(rates[0][j].abs_diff(rates[1][j]) <= 1, "{:?}", rates);
        }
        // Those that no node limits, and whose share is above the floor.
        let is = expected(&plan, &loads);
        let free = |i: usize| node_sum(&rates, i) + INTERFACES as u64 <= bits(plan.nodes[i]);
        for j in 0..INTERFACES {
            for (i, k) in (0..NODES).flat_map(|i| (0..NODES).map(move |k| (i, k))) {
                if free(i) && free(k) && is.pull[i][j] > 1.0 && is.pull[k][j] > 1.0 {
                    let ratio = is.weighed[i][j] / is.weighed[k][j];
                    let due = rates[k][j] as f64 * ratio;
                    // Per cent of floors, and rounding.
                    let off = 0.011 * (is.floor[i][j] + is.floor[k][j] * ratio);
                    let slack = off + due * 1e-9 + (2.0 + ratio) * NODES as f64;
                    let limited = (0..NODES).any(|node| !free(node));
                    prop_assert!(limited || (rates[i][j] as f64 - due).abs() <= slack, "{:?}", rates);
                }
            }
        }
    }
}
