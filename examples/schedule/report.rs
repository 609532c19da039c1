//! What each queue had, for people and for machines.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::files::{Packet, Queue};
use super::simulate::Schedule;

/// What `--json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rate_bits_per_second: u64,
    /// When the last packet was sent.
    end_ns: u64,
    queues: Vec<Totals>,
    pub(crate) departures: Vec<Line>,
    pub(crate) drops: Vec<Line>,
}

/// A packet that was sent, and when that began, or was dropped when it came.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) time_ns: u64,
    pub(crate) queue: u32,
    pub(crate) octets: u32,
    pub(crate) arrival_index: usize,
}

/// What a queue had.
#[derive(Clone, Debug, Default, Serialize)]
struct Totals {
    queue: u32,
    weight: u32,
    limit_packets: u32,
    /// Octets that it earned a round.
    quantum: u64,
    arrived_packets: u64,
    arrived_octets: u64,
    sent_packets: u64,
    sent_octets: u64,
    dropped_packets: u64,
    dropped_octets: u64,
    /// From its arrival to the start of sending.
    mean_wait_ns: u64,
    longest_wait_ns: u64,
}

impl Report {
    pub(crate) fn new(queues: &[Queue], packets: &[Packet], schedule: &Schedule, rate: u64) -> Self {
        let mut totals: Vec<Totals> = queues
            .iter()
            .zip(&schedule.quanta)
            .map(|(queue, quantum)| Totals::new(queue, *quantum))
            .collect();
        for packet in packets {
            let of = &mut totals[packet.queue];
            of.arrived_packets += 1;
            of.arrived_octets += u64::from(packet.octets);
        }
        let mut waits = vec![0u128; queues.len()];
        for &(time_ns, at) in &schedule.departures {
            let (packet, wait) = (&packets[at], time_ns - packets[at].time_ns);
            let of = &mut totals[packet.queue];
            of.sent_packets += 1;
            of.sent_octets += u64::from(packet.octets);
            of.longest_wait_ns = of.longest_wait_ns.max(wait);
            waits[packet.queue] += u128::from(wait);
        }
        for (of, wait) in totals.iter_mut().zip(waits) {
            of.mean_wait_ns = (wait / u128::from(of.sent_packets.max(1))) as u64;
        }
        for &at in &schedule.drops {
            let of = &mut totals[packets[at].queue];
            of.dropped_packets += 1;
            of.dropped_octets += u64::from(packets[at].octets);
        }
        let line = |time_ns: u64, at: usize| {
            let Packet { line, queue, octets, .. } = packets[at];
            Line { time_ns, queue: queues[queue].number, octets, arrival_index: line }
        };
        Self {
            rate_bits_per_second: rate,
            end_ns: schedule.end_ns,
            queues: totals,
            departures: schedule.departures.iter().map(|&(time_ns, at)| line(time_ns, at)).collect(),
            drops: schedule.drops.iter().map(|&at| line(packets[at].time_ns, at)).collect(),
        }
    }

    /// A line for each queue.
    pub(crate) fn totals(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header([
            "queue",
            "weight",
            "arrived",
            "sent",
            "octets sent",
            "of all",
            "dropped",
            "octets dropped",
            "mean wait, us",
            "longest wait, us",
        ]);
        let all: u64 = self.queues.iter().map(|of| of.sent_octets).sum();
        for of in &self.queues {
            let part = of.sent_octets as f64 * 100.0 / all.max(1) as f64;
            let [mean, longest] = [of.mean_wait_ns, of.longest_wait_ns].map(|ns| ns as f64 / 1e3);
            table.add_row([
                of.queue.to_string(),
                of.weight.to_string(),
                of.arrived_packets.to_string(),
                of.sent_packets.to_string(),
                of.sent_octets.to_string(),
                format!("{part:.1}%"),
                of.dropped_packets.to_string(),
                of.dropped_octets.to_string(),
                format!("{mean:.1}"),
                format!("{longest:.1}"),
            ]);
        }
        table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }

    /// How much of the link each queue had, from the first packet to the last: a line for each
    /// queue, a column for each part of the time, in tenths.
    pub(crate) fn strip(&self, columns: usize) -> String {
        let start = self.departures.first().map_or(0, |line| line.time_ns);
        let part = (self.end_ns - start).div_ceil(columns as u64).max(1);
        let mut text = String::new();
        for of in &self.queues {
            let mut busy_ns = vec![0u64; columns];
            for line in self.departures.iter().filter(|line| line.queue == of.queue) {
                let lasts = u128::from(line.octets) * 8_000_000_000 / u128::from(self.rate_bits_per_second);
                let (mut from, to) = (line.time_ns - start, line.time_ns - start + lasts as u64);
                while from < to
                    && let Some(busy) = busy_ns.get_mut((from / part) as usize)
                {
                    let until = to.min((from / part + 1) * part);
                    *busy += until - from;
                    from = until;
                }
            }
            let tenths = busy_ns.iter().map(|&busy| (busy * 10 + part / 2) / part);
            let cells = tenths.map(|tenths| match tenths {
                0 => '.',
                1..10 => char::from(b'0' + tenths as u8),
                _ => '#',
            });
            text.extend(format!("queue {:>3}, weight {:>2}  ", of.queue, of.weight).chars().chain(cells));
            text.push('\n');
        }
        text
    }
}

impl Totals {
    fn new(queue: &Queue, quantum: u64) -> Self {
        let &Queue { number, weight, limit_packets } = queue;
        Self { queue: number, weight, limit_packets, quantum, ..Self::default() }
    }
}
