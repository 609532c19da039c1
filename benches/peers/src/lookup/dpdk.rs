//! The tables of DPDK, where it is installed.

#[cfg(not(dpdk))]
use fastpath::workloads::classbench::Rule;

#[cfg(not(dpdk))]
use crate::side::{Both, Identifier, Packet, Route, Side};

#[cfg(dpdk)]
pub use installed::{acl, fib, fib6, hash, lpm, start};

/// Why a table is not among the sides.
#[cfg(not(dpdk))]
const MISSING: &str = "pkg-config finds no libdpdk (Debian: libdpdk-dev)";

#[cfg(not(dpdk))]
pub fn start() -> Result<(), String> {
    Err(MISSING.into())
}

/// rte_acl with one context for all slices, which are then a field of the key, or with a
/// context each.
#[cfg(not(dpdk))]
pub fn acl(_: &[&[Rule]], _: bool) -> Option<Box<dyn Side<Packet>>> {
    None
}

/// rte_fib, DIR-24-8 with next hops of 2 octets.
#[cfg(not(dpdk))]
pub fn fib(_: &[Route<u32>]) -> Option<Box<dyn Both<u32>>> {
    None
}

/// rte_lpm.
#[cfg(not(dpdk))]
pub fn lpm(_: &[Route<u32>]) -> Option<Box<dyn Both<u32>>> {
    None
}

/// rte_fib6, a trie with next hops of 4 octets.
#[cfg(not(dpdk))]
pub fn fib6(_: &[Route<u128>]) -> Option<Box<dyn Both<u128>>> {
    None
}

/// rte_hash, with CRC as its hash.
#[cfg(not(dpdk))]
pub fn hash(_: &[(Identifier, u32)]) -> Option<Box<dyn Side<Identifier>>> {
    None
}

#[cfg(dpdk)]
mod installed {
    use std::ffi::{c_int, c_uint, c_void};
    use std::hint::black_box;
    use std::ops::Range;
    use std::sync::OnceLock;
    use std::time::Instant;

    use fastpath::workloads::classbench::Rule;

    use crate::side::{BATCH, Both, Built, Changing, Identifier, Packet, Route, Side, time};

    /// A rule as the C side has it.
    #[repr(C)]
    struct PeerRule {
        addresses: [u32; 2],
        /// Low and high end of the source port, and of the destination port.
        ports: [u16; 4],
        lens: [u8; 2],
        protocol: [u8; 2],
        slice: u32,
        number: u32,
    }

    /// A key as rte_acl reads it, in network order.
    #[repr(C)]
    struct PeerKey {
        protocol: [u8; 4],
        slice: [u8; 4],
        addresses: [[u8; 4]; 2],
        ports: [[u8; 2]; 2],
    }

    #[repr(C)]
    struct Route4 {
        address: u32,
        next_hop: u32,
        len: u8,
    }

    #[repr(C)]
    struct Route6 {
        address: [u8; 16],
        next_hop: u32,
        len: u8,
    }

    unsafe extern "C" {
        fn peer_start() -> c_int;
        fn peer_octets() -> usize;
        fn peer_acl_new(rules: *const PeerRule, n: c_uint, sliced: c_int) -> *mut c_void;
        fn peer_acl_free(ctx: *mut c_void);
        fn peer_acl_run(
            ctx: *const c_void, keys: *const *const PeerKey, found: *mut u32, n: c_uint, batch: c_uint,
            algorithm: c_int,
        ) -> c_int;
        fn peer_acl_run_each(
            contexts: *const *mut c_void, keys: *const *const PeerKey, found: *mut u32, n: c_uint,
            batch: c_uint, algorithm: c_int,
        ) -> c_int;
        fn peer_fib_new(routes: c_uint) -> *mut c_void;
        fn peer_fib_add(fib: *mut c_void, route: *const Route4) -> c_int;
        fn peer_fib_delete(fib: *mut c_void, route: *const Route4) -> c_int;
        fn peer_fib_free(fib: *mut c_void);
        fn peer_fib_run(fib: *mut c_void, keys: *mut u32, found: *mut u64, n: c_uint, batch: c_uint);
        fn peer_lpm_new(routes: c_uint) -> *mut c_void;
        fn peer_lpm_add(lpm: *mut c_void, route: *const Route4) -> c_int;
        fn peer_lpm_delete(lpm: *mut c_void, route: *const Route4) -> c_int;
        fn peer_lpm_free(lpm: *mut c_void);
        fn peer_lpm_run(lpm: *mut c_void, keys: *mut u32, found: *mut u32, n: c_uint, batch: c_uint);
        fn peer_fib6_new(routes: c_uint) -> *mut c_void;
        fn peer_fib6_add(fib: *mut c_void, route: *const Route6) -> c_int;
        fn peer_fib6_delete(fib: *mut c_void, route: *const Route6) -> c_int;
        fn peer_fib6_free(fib: *mut c_void);
        fn peer_fib6_run(fib: *mut c_void, keys: *mut [u8; 16], found: *mut u64, n: c_uint, batch: c_uint);
        fn peer_hash_new(entries: c_uint) -> *mut c_void;
        fn peer_hash_add(hash: *mut c_void, key: *const [u8; 16], value: u32) -> c_int;
        fn peer_hash_free(hash: *mut c_void);
        fn peer_hash_run(
            hash: *const c_void, keys: *const [u8; 16], found: *mut u32, n: c_uint, batch: c_uint,
        );
    }

    static STARTED: OnceLock<bool> = OnceLock::new();

    /// Starts DPDK. Without it there are no tables.
    pub fn start() -> Result<(), String> {
        // SAFETY: it takes nothing, and is called once.
        match STARTED.get_or_init(|| unsafe { peer_start() } == 0) {
            true => Ok(()),
            false => Err("it does not start: are 4 GB of memory free?".into()),
        }
    }

    fn started() -> bool {
        STARTED.get() == Some(&true)
    }

    /// What a table of DPDK takes.
    fn built<T>(make: impl FnOnce() -> T) -> (T, Built) {
        // SAFETY: it only reads counters of DPDK, which has been started.
        let octets = || unsafe { peer_octets() };
        let (before, start) = (octets(), Instant::now());
        let made = make();
        let ms = start.elapsed().as_secs_f64() * 1e3;
        (made, Built { ms, octets: octets().saturating_sub(before), said: None })
    }

    /// rte_acl.
    struct Acl {
        contexts: Vec<*mut c_void>,
        /// With one context the slice is a field; else the n-th is that of slice n.
        each: bool,
        name: String,
        built: Built,
        /// The fastest algorithm for single keys, and for batches.
        algorithms: [c_int; 2],
        keys: Vec<PeerKey>,
        pointers: Vec<*const PeerKey>,
        found: Vec<u32>,
    }

    /// Scalar, SSE, AVX2, AVX-512 for 16 flows and for 32, as `enum rte_acl_classify_alg`
    /// numbers them.
    const ALGORITHMS: [c_int; 5] = [1, 2, 3, 6, 7];

    /// One context for all slices, which are then a field of the key, or a context each.
    pub fn acl(sets: &[&[Rule]], each: bool) -> Option<Box<dyn Side<Packet>>> {
        if !started() || each && sets.len() > 16 {
            return None;
        }
        let rules: Vec<Vec<_>> =
            sets.iter().zip(0..).map(|(rules, slice)| peer_rules(rules, slice)).collect();
        let (contexts, built) = built(|| match each {
            true => rules.iter().map(|rules| context(rules, false)).collect::<Vec<_>>(),
            false => vec![context(&rules.into_iter().flatten().collect::<Vec<_>>(), sets.len() > 1)],
        });
        // Those that there are are freed with it.
        let name = if each { "rte_acl, a context each" } else { "rte_acl" }.into();
        let whole = contexts.iter().all(|context| !context.is_null());
        let (keys, pointers, found) = (Vec::new(), Vec::new(), Vec::new());
        let acl = Acl { contexts, each, name, built, algorithms: [1; 2], keys, pointers, found };
        whole.then(|| Box::new(acl) as _)
    }

    fn peer_rules(rules: &[Rule], slice: u32) -> Vec<PeerRule> {
        let rule = |(rule, number): (&Rule, u32)| PeerRule {
            addresses: [rule.source.address(), rule.destination.address()],
            ports: [
                *rule.source_ports.start(),
                *rule.source_ports.end(),
                *rule.destination_ports.start(),
                *rule.destination_ports.end(),
            ],
            lens: [rule.source.len(), rule.destination.len()],
            protocol: [rule.protocol.value(), rule.protocol.mask()],
            slice,
            number,
        };
        rules.iter().zip(0..).map(rule).collect()
    }

    fn context(rules: &[PeerRule], sliced: bool) -> *mut c_void {
        // SAFETY: as many rules are read as there are.
        unsafe { peer_acl_new(rules.as_ptr(), rules.len() as c_uint, sliced.into()) }
    }

    impl Acl {
        /// Whether the algorithm can be had.
        fn classify(&mut self, keys: Range<usize>, batch: usize, algorithm: c_int) -> bool {
            let (pointers, found) = (&self.pointers[keys.clone()], &mut self.found[keys]);
            let (n, batch) = (pointers.len() as c_uint, batch as c_uint);
            let (pointers, found) = (pointers.as_ptr(), found.as_mut_ptr());
            // SAFETY: `n` pointers to keys are read and `n` answers written; each key's
            // slice is one of those that there are contexts of.
            let wrong = unsafe {
                match self.each {
                    true => peer_acl_run_each(self.contexts.as_ptr(), pointers, found, n, batch, algorithm),
                    false => peer_acl_run(self.contexts[0], pointers, found, n, batch, algorithm),
                }
            };
            wrong == 0
        }
    }

    impl Side<Packet> for Acl {
        fn name(&self) -> &str {
            &self.name
        }
        fn built(&self) -> Built {
            self.built
        }
        fn take(&mut self, keys: &[Packet]) {
            let there = |slice| !self.each || usize::from(slice) < self.contexts.len();
            assert!(keys.iter().all(|(slice, _)| there(*slice)));
            let key = |(slice, flow): &Packet| PeerKey {
                protocol: [flow.protocol, 0, 0, 0],
                slice: u32::from(*slice).to_be_bytes(),
                addresses: [flow.source.to_be_bytes(), flow.destination.to_be_bytes()],
                ports: [flow.source_port.to_be_bytes(), flow.destination_port.to_be_bytes()],
            };
            self.keys = keys.iter().map(key).collect();
            self.pointers = self.keys.iter().map(std::ptr::from_ref).collect();
            self.found = vec![0; keys.len()];
            let some = 0..keys.len().min(8192);
            for (batch, at) in [(1, 0), (BATCH, 1)] {
                let mut took = |algorithm| {
                    let mut can = true;
                    let times =
                        [(); 3].map(|()| time(|| can &= self.classify(some.clone(), batch, algorithm)));
                    can.then(|| times.into_iter().fold(f64::INFINITY, f64::min))
                };
                let times =
                    ALGORITHMS.into_iter().filter_map(|algorithm| Some((took(algorithm)?, algorithm)));
                let times: Vec<_> = times.collect();
                let best = times.iter().min_by(|one, other| one.0.total_cmp(&other.0));
                self.algorithms[at] = best.map_or(1, |best| best.1);
            }
        }
        fn run(&mut self, keys: Range<usize>, batch: usize) {
            let algorithm = self.algorithms[usize::from(batch > 1)];
            self.classify(keys, batch, algorithm);
        }
        fn touch(&self, keys: Range<usize>) {
            black_box(self.keys[keys.clone()].iter().map(|key| key.protocol[0]).max());
            black_box(self.pointers[keys].iter().map(|key| key.addr()).max());
        }
        fn answers(&self) -> Vec<u32> {
            self.found.clone()
        }
    }

    impl Drop for Acl {
        fn drop(&mut self) {
            for &context in &self.contexts {
                // SAFETY: made by `peer_acl_new`, or null; used no more.
                unsafe { peer_acl_free(context) }
            }
        }
    }

    /// Which table of routes.
    struct Calls<R, K, F> {
        name: &'static str,
        changing: &'static str,
        add: unsafe extern "C" fn(*mut c_void, *const R) -> c_int,
        delete: unsafe extern "C" fn(*mut c_void, *const R) -> c_int,
        free: unsafe extern "C" fn(*mut c_void),
        run: unsafe extern "C" fn(*mut c_void, *mut K, *mut F, c_uint, c_uint),
        hop: fn(&F) -> u32,
    }

    /// A table of routes.
    struct Routes<R, K, F> {
        table: *mut c_void,
        calls: Calls<R, K, F>,
        built: Built,
        routes: Vec<R>,
        keys: Vec<K>,
        found: Vec<F>,
    }

    impl<R, K, F> Routes<R, K, F> {
        fn new(
            calls: Calls<R, K, F>, new: unsafe extern "C" fn(c_uint) -> *mut c_void, routes: Vec<R>,
        ) -> Option<Self> {
            if !started() {
                return None;
            }
            // SAFETY: what is made is checked before it is used; routes are read one by one.
            let (table, built) = built(|| unsafe {
                let table = new(routes.len() as c_uint);
                (!table.is_null()).then(|| {
                    let refused = routes.iter().filter(|&route| (calls.add)(table, route) != 0).count();
                    (table, refused)
                })
            });
            let (table, refused) = table?;
            let table = Self { table, calls, built, routes, keys: Vec::new(), found: Vec::new() };
            if refused > 0 {
                println!("{} refuses {refused} routes and is left out", table.calls.name);
                return None;
            }
            Some(table)
        }
    }

    impl<R, K, F> Drop for Routes<R, K, F> {
        fn drop(&mut self) {
            // SAFETY: made by the same table's function, used no more.
            unsafe { (self.calls.free)(self.table) }
        }
    }

    /// A key in the form that the table takes.
    trait Form<A> {
        fn of(key: A) -> Self;
    }

    impl Form<u32> for u32 {
        fn of(key: u32) -> Self {
            key
        }
    }

    impl Form<u128> for [u8; 16] {
        fn of(key: u128) -> Self {
            key.to_be_bytes()
        }
    }

    impl<A: Copy, R, K: Form<A> + Copy + Ord, F: Clone + Default> Side<A> for Routes<R, K, F> {
        fn name(&self) -> &str {
            self.calls.name
        }
        fn built(&self) -> Built {
            self.built
        }
        fn take(&mut self, keys: &[A]) {
            self.keys = keys.iter().map(|&key| K::of(key)).collect();
            self.found = vec![F::default(); keys.len()];
        }
        fn run(&mut self, keys: Range<usize>, batch: usize) {
            let (found, keys) = (&mut self.found[keys.clone()], &mut self.keys[keys]);
            let n = keys.len() as c_uint;
            // SAFETY: as many keys are read, and answers written, as there are.
            unsafe { (self.calls.run)(self.table, keys.as_mut_ptr(), found.as_mut_ptr(), n, batch as c_uint) }
        }
        fn touch(&self, keys: Range<usize>) {
            black_box(self.keys[keys].iter().max());
        }
        fn answers(&self) -> Vec<u32> {
            self.found.iter().map(self.calls.hop).collect()
        }
    }

    impl<R, K, F> Changing for Routes<R, K, F> {
        fn called(&self) -> &str {
            self.calls.changing
        }
        fn change(&mut self, drawn: &[usize], took: &mut Vec<f64>) {
            for &at in drawn {
                let route = &self.routes[at % self.routes.len()];
                // SAFETY: the route is read.
                took.push(time(|| assert_eq!(unsafe { (self.calls.delete)(self.table, route) }, 0)));
                // SAFETY: see above.
                took.push(time(|| assert_eq!(unsafe { (self.calls.add)(self.table, route) }, 0)));
            }
        }
    }

    fn routes4(routes: &[Route<u32>]) -> Vec<Route4> {
        routes.iter().map(|&(address, len, next_hop)| Route4 { address, next_hop, len }).collect()
    }

    /// rte_fib, DIR-24-8 with next hops of 2 octets.
    pub fn fib(routes: &[Route<u32>]) -> Option<Box<dyn Both<u32>>> {
        let calls = Calls {
            name: "rte_fib",
            changing: "rte_fib, no reader",
            add: peer_fib_add,
            delete: peer_fib_delete,
            free: peer_fib_free,
            run: peer_fib_run,
            hop: |found: &u64| *found as u32,
        };
        Some(Box::new(Routes::new(calls, peer_fib_new, routes4(routes))?))
    }

    /// rte_lpm.
    pub fn lpm(routes: &[Route<u32>]) -> Option<Box<dyn Both<u32>>> {
        let calls = Calls {
            name: "rte_lpm",
            changing: "rte_lpm, no reader",
            add: peer_lpm_add,
            delete: peer_lpm_delete,
            free: peer_lpm_free,
            run: peer_lpm_run,
            hop: |found: &u32| if found >> 24 & 1 == 1 { found & 0xff_ffff } else { 0 },
        };
        Some(Box::new(Routes::new(calls, peer_lpm_new, routes4(routes))?))
    }

    /// rte_fib6, a trie with next hops of 4 octets.
    pub fn fib6(routes: &[Route<u128>]) -> Option<Box<dyn Both<u128>>> {
        let calls = Calls {
            name: "rte_fib6",
            changing: "rte_fib6, no reader",
            add: peer_fib6_add,
            delete: peer_fib6_delete,
            free: peer_fib6_free,
            run: peer_fib6_run,
            hop: |found: &u64| *found as u32,
        };
        let routes = routes.iter().map(|&(address, len, next_hop)| Route6 {
            address: address.to_be_bytes(),
            next_hop,
            len,
        });
        Some(Box::new(Routes::new(calls, peer_fib6_new, routes.collect())?))
    }

    /// rte_hash.
    struct Hash {
        table: *mut c_void,
        built: Built,
        keys: Vec<[u8; 16]>,
        found: Vec<u32>,
    }

    /// rte_hash, with CRC as its hash.
    pub fn hash(entries: &[(Identifier, u32)]) -> Option<Box<dyn Side<Identifier>>> {
        if !started() {
            return None;
        }
        // SAFETY: what is made is checked before it is used; 16 octets of each key are read.
        let (table, built) = built(|| unsafe {
            let table = peer_hash_new(entries.len() as c_uint);
            let add = |(key, value): &(Identifier, u32)| peer_hash_add(table, &key.0.to_be_bytes(), *value);
            (!table.is_null()).then(|| (table, entries.iter().filter(|entry| add(entry) < 0).count()))
        });
        let (table, refused) = table?;
        let hash = Hash { table, built, keys: Vec::new(), found: Vec::new() };
        if refused > 0 {
            println!("rte_hash refuses {refused} entries and is left out");
            return None;
        }
        Some(Box::new(hash))
    }

    impl Side<Identifier> for Hash {
        fn name(&self) -> &str {
            "rte_hash"
        }
        fn built(&self) -> Built {
            self.built
        }
        fn take(&mut self, keys: &[Identifier]) {
            self.keys = keys.iter().map(|key| key.0.to_be_bytes()).collect();
            self.found = vec![0; keys.len()];
        }
        fn run(&mut self, keys: Range<usize>, batch: usize) {
            let (keys, found) = (&self.keys[keys.clone()], &mut self.found[keys]);
            let (n, batch) = (keys.len() as c_uint, batch as c_uint);
            // SAFETY: as many keys are read, and answers written, as there are.
            unsafe { peer_hash_run(self.table, keys.as_ptr(), found.as_mut_ptr(), n, batch) }
        }
        fn touch(&self, keys: Range<usize>) {
            black_box(self.keys[keys].iter().max());
        }
        fn answers(&self) -> Vec<u32> {
            self.found.clone()
        }
    }

    impl Drop for Hash {
        fn drop(&mut self) {
            // SAFETY: made by `peer_hash_new`, used no more.
            unsafe { peer_hash_free(self.table) }
        }
    }
}
