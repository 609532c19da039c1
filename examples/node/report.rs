//! What a run comes to: figures for machines, and the same as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use fastpath::exit::{Exception, Exit};
use fastpath::id::SliceId;
use fastpath::node::{Account, Action};
use serde::Serialize;

use super::config::Plan;
use super::feed::Counted;
use super::run::Finished;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Frames that arrived.
    pub(crate) frames: u64,
    /// Packets processed, those of slice managers included.
    pub(crate) processed: u64,
    pub(crate) simulated_seconds: f64,
    pub(crate) slices: Vec<Slice>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) made: Vec<Made>,
    pub(crate) stages: Vec<Stage>,
    /// Million packets a second of all stages but the source.
    pub(crate) mpps: f64,
    pub(crate) buffers: u64,
    pub(crate) files: Vec<Written>,
    pub(crate) notes: Vec<String>,
    /// Whether every packet is accounted for.
    pub(crate) exact: bool,
    /// If not, where.
    pub(crate) differences: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Slice {
    pub(crate) slice: String,
    pub(crate) option: &'static str,
    pub(crate) received: u64,
    pub(crate) injected: u64,
    pub(crate) forwarded: u64,
    pub(crate) slow_path: u64,
    pub(crate) dropped: u64,
    pub(crate) waiting: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Reason {
    pub(crate) slice: String,
    pub(crate) exit: String,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    pub(crate) interface: String,
    pub(crate) slice: String,
    pub(crate) queue: String,
    pub(crate) weight: u32,
    /// Of the weights of the interface's queues, 0 to 1.
    pub(crate) weight_share: f64,
    /// Of the octets that the interface sent, 0 to 1.
    pub(crate) measured_share: f64,
    pub(crate) sent: u64,
    pub(crate) sent_octets: u64,
    pub(crate) dropped: u64,
    pub(crate) waiting: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Made {
    pub(crate) what: &'static str,
    pub(crate) slice: String,
    pub(crate) frames: u64,
    pub(crate) exit: &'static str,
    /// Of that exit or, for the slow path, refused by it.
    pub(crate) counted: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Stage {
    pub(crate) stage: &'static str,
    pub(crate) ns_per_packet: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) frames: u64,
}

/// The substrate's name in reports.
const SUBSTRATE: &str = "(no slice)";

impl Report {
    pub(crate) fn new(plan: &Plan, run: &Finished, source: &Counted) -> Self {
        let names: Vec<&str> =
            [SUBSTRATE].into_iter().chain(plan.slices.iter().map(|slice| slice.name.as_str())).collect();
        let accounts: Vec<Account> =
            (0..names.len()).map(|at| run.node.account(SliceId(at as u16))).collect();
        let mut differences = Vec::new();
        let mut slices = Vec::new();
        for (at, (name, account)) in names.iter().zip(&accounts).enumerate() {
            let option =
                at.checked_sub(1).and_then(|at| plan.slices.get(at)).map_or("", |slice| slice.kind.name());
            slices.push(Slice {
                slice: (*name).into(),
                option,
                received: account.received(),
                injected: account.injected.packets,
                forwarded: account.sent.packets,
                slow_path: account.slow_path.packets,
                dropped: account.dropped.packets,
                waiting: account.waiting,
            });
            differences.extend(differ(name, at, account, run, source));
        }
        let sum = |of: fn(&Slice) -> u64| slices.iter().map(of).sum::<u64>();
        let mut same = |what: &str, counted: u64, node: u64| {
            if counted != node {
                differences.push(format!("{what}: {counted} counted outside, {node} by the node"));
            }
        };
        same("frames of the source", source.frames, sum(|slice| slice.received));
        same("buffers that are out and packets that wait", run.buffers_out, sum(|slice| slice.waiting));

        let mut reasons = Vec::new();
        for (at, name) in names.iter().enumerate() {
            for exit in Exit::all() {
                let count = run.node.count(SliceId(at as u16), exit);
                if count.packets > 0 {
                    let (slice, exit) = ((*name).into(), exit.to_string());
                    reasons.push(Reason { slice, exit, packets: count.packets, octets: count.octets });
                }
            }
        }
        let stages = run.stages;
        let per_packet = |time: Duration| time.as_nanos() as f64 / run.processed.max(1) as f64;
        let stage = |stage, time| Stage { stage, ns_per_packet: per_packet(time) };
        let work = stages.process + stages.transmit + stages.slow_path;
        Self {
            frames: source.frames,
            processed: run.processed,
            simulated_seconds: (run.last - run.first).as_secs_f64(),
            made: made(&names, &reasons, source),
            queues: queues(plan, run),
            slices,
            reasons,
            stages: vec![
                stage("source (frames made or read, not the node's work)", stages.source),
                stage("decap, parse, lookup, format, queue", stages.process),
                stage("scheduler and transmission", stages.transmit),
                stage("control and slow path managers", stages.slow_path),
            ],
            mpps: 1000.0 / per_packet(work).max(f64::MIN_POSITIVE),
            buffers: run.buffers,
            files: Vec::new(),
            notes: source.notes.clone(),
            exact: differences.is_empty(),
            differences,
        }
    }

    /// The tables.
    pub(crate) fn tables(&self) -> String {
        let mut out = String::new();
        let mut add = |title: &str, table: Table| {
            let _ = writeln!(out, "{title}\n{table}\n");
        };
        let slices = self.slices.iter().map(|it| {
            let counts = [it.received, it.injected, it.forwarded, it.slow_path, it.dropped, it.waiting];
            [it.slice.clone(), it.option.into()].into_iter().chain(counts.map(grouped)).collect()
        });
        let head =
            ["slice", "option", "received", "injected", "forwarded", "slow path", "dropped", "waiting"];
        add("Slices, in packets", table(&head, 2, slices));
        let reasons = self
            .reasons
            .iter()
            .map(|it| vec![it.slice.clone(), it.exit.clone(), grouped(it.packets), grouped(it.octets)]);
        add("Why packets left early", table(&["slice", "exit", "packets", "octets"], 2, reasons));
        if !self.made.is_empty() {
            let made = self.made.iter().map(|it| {
                vec![
                    it.slice.clone(),
                    it.what.into(),
                    it.exit.into(),
                    grouped(it.frames),
                    grouped(it.counted),
                ]
            });
            let head = ["slice", "sent on purpose", "leaves as", "made", "counted"];
            add("What the traffic holds besides sound packets, by exit", table(&head, 3, made));
        }
        let queues = self.queues.iter().map(|it| {
            let names = [&it.interface, &it.slice, &it.queue].map(String::clone);
            let shares = [it.weight_share, it.measured_share].map(|share| format!("{:.1} %", share * 100.0));
            let counts = [it.sent, it.dropped, it.waiting].map(grouped);
            names.into_iter().chain([it.weight.to_string()]).chain(shares).chain(counts).collect()
        });
        let head =
            ["interface", "slice", "queue", "weight", "its share", "measured", "sent", "dropped", "waiting"];
        add("Queues: configured and measured share of the interface's octets", table(&head, 3, queues));
        let stages = self.stages.iter().map(|it| vec![it.stage.into(), format!("{:.1}", it.ns_per_packet)]);
        add("Time", table(&["stage", "ns a packet"], 1, stages));
        for Written { file, frames } in &self.files {
            let _ = writeln!(out, "{file}: {} frames", grouped(*frames));
        }
        for note in &self.notes {
            let _ = writeln!(out, "note: {note}");
        }
        let _ = writeln!(
            out,
            "{} packets in {:.3} s of simulated time, {:.2} Mpps, {} buffers",
            grouped(self.processed),
            self.simulated_seconds,
            self.mpps,
            grouped(self.buffers)
        );
        let sum = |of: fn(&Slice) -> u64| grouped(self.slices.iter().map(of).sum());
        let _ = writeln!(
            out,
            "accounting {}: received {} + injected {} = sent {} + slow path {} + dropped {} + waiting {}",
            if self.exact { "exact" } else { "WRONG" },
            sum(|it| it.received),
            sum(|it| it.injected),
            sum(|it| it.forwarded),
            sum(|it| it.slow_path),
            sum(|it| it.dropped),
            sum(|it| it.waiting)
        );
        for difference in &self.differences {
            let _ = writeln!(out, "  {difference}");
        }
        out
    }
}

/// Where the node's account of a slice is not what was counted outside of it.
fn differ(name: &str, at: usize, account: &Account, run: &Finished, source: &Counted) -> Vec<String> {
    let mut found = Vec::new();
    let mut same = |what: &str, counted: u64, node: u64| {
        if counted != node {
            found.push(format!("{name}, {what}: {counted} counted outside, {node} by the node"));
        }
    };
    let tally = run.tally.get(at).copied().unwrap_or_default();
    let manager = at.checked_sub(1).and_then(|at| run.managers.get(at));
    let (taken, injected) = manager.map_or((0, 0), |manager| (manager.taken, manager.injected()));
    same("sent", tally.sent, account.sent.packets);
    same("dropped", tally.dropped, account.dropped.packets);
    same("slow path", taken, account.slow_path.packets);
    same("injected", injected, account.injected.packets);
    if let Some(received) = source.by_slice.as_ref().and_then(|counts| counts.get(at)) {
        let out = tally.sent + taken + tally.dropped + account.waiting;
        same("received + injected, and what came of it", received + injected, out);
        same("received", *received, account.received());
    }
    let before = account.injected.packets + account.received();
    let queued = account.queued.packets;
    same("queued, and sent or waiting", queued, account.sent.packets + account.waiting);
    if let Some(manager) = manager {
        let exits: u64 = Exception::ALL.iter().map(|it| manager.control().exits((*it).into()).packets).sum();
        same("slow path by reason", taken, exits);
    }
    same("what came in, and what left", before, queued + account.slow_path.packets + account.dropped.packets);
    found
}

/// What was made on purpose, by slice and exit: kinds that leave alike are counted
/// together.
fn made(names: &[&str], reasons: &[Reason], source: &Counted) -> Vec<Made> {
    source
        .made
        .iter()
        .map(|it| {
            let slice = names.get(it.slice).copied().unwrap_or_default().to_owned();
            let slow = it.exit.starts_with("slow_path:");
            let of_exit = |reason: &&Reason| {
                let refused = slow && reason.exit.starts_with("drop:slow_path_");
                reason.slice == slice && (reason.exit == it.exit || refused)
            };
            let counted = reasons.iter().filter(of_exit).map(|reason| reason.packets).sum();
            Made { what: it.what, slice, frames: it.frames, exit: it.exit, counted }
        })
        .collect()
}

fn queues(plan: &Plan, run: &Finished) -> Vec<Queue> {
    let mut queues = Vec::new();
    let mut sums: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for (at, (slice, manager)) in plan.slices.iter().zip(&run.managers).enumerate() {
        for ((name, request), number) in slice.queues.iter().zip(&slice.request.queues).zip(0u16..) {
            let sent = manager.control().queue_count(number);
            let leads = |action: &Action| matches!(action, Action::Forward { queue, .. } if *queue == number);
            let results = slice.results.iter().zip(0u32..).filter(|(action, _)| leads(action));
            let queued: u64 = results.map(|(_, result)| manager.control().result_count(result).packets).sum();
            let sum = sums.entry(request.interface.0).or_default();
            *sum = (sum.0 + u64::from(request.weight), sum.1 + sent.octets);
            let interface = plan.interfaces.get(usize::from(request.interface.0));
            queues.push((
                request.interface.0,
                Queue {
                    interface: interface.map(|it| it.name.clone()).unwrap_or_default(),
                    slice: slice.name.clone(),
                    queue: name.clone(),
                    weight: request.weight,
                    weight_share: 0.0,
                    measured_share: 0.0,
                    sent: sent.packets,
                    sent_octets: sent.octets,
                    dropped: run.queue_drops.get(&(at, number)).copied().unwrap_or_default(),
                    waiting: queued - sent.packets,
                },
            ));
        }
    }
    queues.sort_by_key(|(interface, _)| *interface);
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let shared = queues.into_iter().map(|(interface, queue)| {
        let (weights, octets) = sums.get(&interface).copied().unwrap_or_default();
        let weight_share = share(queue.weight.into(), weights);
        Queue { weight_share, measured_share: share(queue.sent_octets, octets), ..queue }
    });
    shared.collect()
}

/// A table whose first `names` columns are text and whose others are figures.
fn table(head: &[&str], names: usize, rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(head.to_vec()).add_rows(rows);
    use TableComponent::{
        HorizontalLines, LeftBorderIntersections, MiddleIntersections, RightBorderIntersections,
    };
    for lines in [HorizontalLines, LeftBorderIntersections, MiddleIntersections, RightBorderIntersections] {
        table.remove_style(lines);
    }
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
