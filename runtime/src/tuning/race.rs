//! Timing in turns: every candidate runs once in each round, in another order each time, so that a disturbance
//! meets all of them; those that are surely slower stop early.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use himuon_templates::KernelSpec;

use super::level::Level;
use super::statistics::{Interval, median, ratio};
use super::target::{CacheState, Trouble, TuningTarget};

/// A candidate whose best run of two rounds is this many times as long as the leader's is not timed further. By the best
/// run, as a disturbance lengthens some runs and shortens none.
const HOPELESS: f64 = 1.5;
/// Rounds before a candidate may be hopeless.
const FIRST_LOOK: usize = 2;
/// Candidates whose times differ by less than this fraction for sure are equal.
const EQUAL: f64 = 0.01;
/// Launches longer than this leave nothing of themselves in the caches: they are not timed warm.
const LONGEST_WARM: u64 = 50_000_000;

/// A candidate in the race.
#[derive(Clone, Debug, Default)]
pub(super) struct Entrant {
    pub(super) variant: String,
    pub(super) cold: Vec<u64>,
    pub(super) warm: Vec<u64>,
    /// Why it failed while it was timed.
    pub(super) failure: Option<String>,
    /// The device's part in that.
    pub(super) trouble: Option<Trouble>,
    /// It stopped early, being surely slower.
    out: bool,
}

impl Entrant {
    pub(super) fn new(variant: String) -> Self {
        Entrant {
            variant,
            ..Entrant::default()
        }
    }

    fn runs(&self) -> bool {
        self.failure.is_none() && !self.out
    }
}

/// When a race ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) level: Level,
    pub(super) budget: Duration,
    /// How many times as fast as the incumbent a candidate must be to take its place.
    pub(super) least_speedup: f64,
}

/// Why a race ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The device is lost, by the entrant of this number.
    Lost(usize),
    /// The order is settled.
    Settled,
    /// Time or rounds were used up.
    Spent,
    /// Somebody asked to stop.
    Stopped,
}

/// Times the entrants; the first one is the incumbent, which stays to the end.
pub(super) struct Race<'a, T: ?Sized> {
    pub(super) target: &'a mut T,
    pub(super) spec: &'a KernelSpec,
    pub(super) rules: Rules,
    pub(super) stop: &'a AtomicBool,
}

impl<T: TuningTarget + ?Sized> Race<'_, T> {
    /// Runs rounds until the order is settled. `on_round` gets the fraction of the time that is used.
    pub(super) fn run(
        &mut self,
        entrants: &mut [Entrant],
        on_round: &mut dyn FnMut(usize, f64),
    ) -> End {
        let start = Instant::now();
        let mut turn = Turn(entrants.len() as u64);
        for round in 0..self.rules.level.most_rounds() {
            let spent = start.elapsed();
            if round >= FIRST_LOOK && spent >= self.rules.budget {
                return End::Spent;
            }
            on_round(
                round,
                spent.as_secs_f64() / self.rules.budget.as_secs_f64().max(1e-3),
            );
            for index in turn.order(entrants.len()) {
                if self.stop.load(Ordering::Relaxed) {
                    return End::Stopped;
                }
                if entrants[index].runs() {
                    self.sample(&mut entrants[index], round);
                }
                if entrants[index].trouble == Some(Trouble::Lost) {
                    return End::Lost(index);
                }
            }
            retire(entrants, round + 1, self.rules.level);
            if round + 1 >= self.rules.level.fewest_rounds() && settled(entrants, self.rules) {
                return End::Settled;
            }
        }
        End::Spent
    }

    /// One cold and, for short launches, one warm run; before the first a run that wakes up pages and threads.
    fn sample(&mut self, entrant: &mut Entrant, round: usize) {
        let mut run = |caches| self.target.run(self.spec, &entrant.variant, caches);
        let mut times = || {
            if round == 0 {
                run(CacheState::Warm)?;
            }
            let cold = run(CacheState::Cold)?;
            let warm = (cold <= LONGEST_WARM).then(|| run(CacheState::Warm));
            Ok((cold, warm.transpose()?))
        };
        match times() {
            Ok((cold, warm)) => {
                entrant.cold.push(cold.max(1));
                entrant.warm.extend(warm);
            }
            Err(reason) => {
                entrant.failure = Some(reason);
                entrant.trouble = self.target.trouble();
            }
        }
    }
}

/// The entrant with the lowest median.
pub(super) fn leader(entrants: &[Entrant]) -> Option<usize> {
    let timed = entrants.iter().enumerate().filter(|(_, entrant)| {
        entrant.failure.is_none() && !entrant.out && !entrant.cold.is_empty()
    });
    timed
        .min_by(|(_, a), (_, b)| median(&a.cold).total_cmp(&median(&b.cold)))
        .map(|(index, _)| index)
}

/// Whose choice it is: the leader's if it is surely faster than the incumbent (the first) by `least_speedup`.
pub(super) fn winner(entrants: &[Entrant], least_speedup: f64) -> Option<usize> {
    let leader = leader(entrants)?;
    match entrants.first() {
        Some(incumbent) if incumbent.failure.is_none() && !incumbent.cold.is_empty() => {
            let speedup = against(incumbent, &entrants[leader]);
            Some(if speedup.low >= least_speedup {
                leader
            } else {
                0
            })
        }
        _ => Some(leader),
    }
}

fn shortest(samples: &[u64]) -> f64 {
    samples
        .iter()
        .min()
        .map_or(f64::INFINITY, |least| *least as f64)
}

fn against(slower: &Entrant, faster: &Entrant) -> Interval {
    ratio(&slower.cold, &faster.cold)
}

/// Takes out who is surely slower than the leader. The incumbent stays: it is what the others must beat.
fn retire(entrants: &mut [Entrant], rounds: usize, level: Level) {
    let Some(leader) = leader(entrants) else {
        return;
    };
    let best = entrants[leader].clone();
    for (index, entrant) in entrants.iter_mut().enumerate() {
        if index == 0 || index == leader || !entrant.runs() {
            continue;
        }
        let hopeless =
            rounds >= FIRST_LOOK && shortest(&entrant.cold) > HOPELESS * shortest(&best.cold);
        let slower = rounds >= level.fewest_rounds() && against(entrant, &best).low > 1.0;
        entrant.out = hopeless || slower;
    }
}

/// Whether more rounds would change nothing: who still runs is as fast as the leader, and it is known whether the
/// incumbent keeps its place.
fn settled(entrants: &[Entrant], rules: Rules) -> bool {
    let Some(leader) = leader(entrants) else {
        return true;
    };
    let best = &entrants[leader];
    let equal = |entrant: &Entrant| {
        let interval = against(entrant, best);
        interval.high - interval.low <= EQUAL
    };
    let rivals = entrants.iter().enumerate().skip(1);
    let rivals_settled = rivals
        .filter(|(index, entrant)| *index != leader && entrant.runs())
        .all(|(_, entrant)| equal(entrant));
    let incumbent = &entrants[0];
    let incumbent_settled = leader == 0 || incumbent.failure.is_some() || {
        let speedup = against(incumbent, best);
        speedup.low >= rules.least_speedup || speedup.high < rules.least_speedup
    };
    rivals_settled && incumbent_settled
}

/// Another order each round, the same on every machine.
struct Turn(u64);

impl Turn {
    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            order.swap(last, (self.0 >> 33) as usize % (last + 1));
        }
        order
    }
}
