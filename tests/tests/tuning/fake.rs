//! The CPU with candidates of made-up speed, some of them wrong.

use himuon::KernelSpec;
use himuon::cpu::{CpuKernel, InstructionSet};
use himuon::templates::Operand;
use himuon::tuning::{
    CacheState, Candidate, Clock, CpuTarget, DeviceFingerprint, StepCase, Trouble, TuningTarget,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is wrong with a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// One element is off by a thousandth.
    Inexact,
    /// One element is not written.
    Forgets,
    /// The weight is not updated.
    MapOnly,
    /// It does not load.
    Absent,
    /// It loads, and fails under load.
    Breaks,
    /// Its second step gives other bits than its first.
    Wavers,
    /// There is no room for it.
    TooLarge,
    /// It takes the device along when it is verified.
    Destroys,
    /// It takes the device along when it is timed.
    DestroysLater,
}

#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) digest: &'static str,
    /// Nanoseconds of a cold run without disturbance.
    pub(crate) time: u64,
    pub(crate) fault: Fault,
}

impl Made {
    pub(crate) fn right(name: &'static str, time: u64) -> Made {
        Made {
            name,
            digest: "1",
            time,
            fault: Fault::None,
        }
    }
}

pub(crate) struct Fake {
    cpu: CpuTarget,
    pub(crate) made: Vec<Made>,
    pub(crate) clock: Clock,
    /// What it says that it uses.
    pub(crate) threads: usize,
    /// Largest disturbance of a run, as a multiple of its time.
    pub(crate) noise: f64,
    /// Runs of each candidate.
    pub(crate) runs: BTreeMap<String, usize>,
    /// Steps of each candidate.
    steps: BTreeMap<String, usize>,
    /// Set before the run of this number.
    pub(crate) stop_at: Option<(usize, Arc<AtomicBool>)>,
    /// What the last failure says of the device.
    trouble: Option<Trouble>,
    seed: u64,
}

impl Fake {
    pub(crate) fn new(made: Vec<Made>) -> Fake {
        Fake {
            cpu: CpuTarget::new(Some(1)).unwrap(),
            made,
            clock: Clock::Monotonic,
            threads: 1,
            noise: 0.0,
            runs: BTreeMap::new(),
            steps: BTreeMap::new(),
            stop_at: None,
            trouble: None,
            seed: 1,
        }
    }

    pub(crate) fn runs_of(&self, name: &str) -> usize {
        self.runs.get(name).copied().unwrap_or(0)
    }

    fn fault(&self, name: &str) -> Fault {
        self.made
            .iter()
            .find(|made| made.name == name)
            .unwrap()
            .fault
    }

    /// Fails if the device is lost or has no room, or if the candidate ends it here.
    fn survive(&mut self, name: &str, ends: Fault) -> Result<(), String> {
        let fault = self.fault(name);
        if self.trouble == Some(Trouble::Lost) || fault == ends {
            self.trouble = Some(Trouble::Lost);
            return Err("an illegal address".to_owned());
        }
        self.trouble = (fault == Fault::TooLarge).then_some(Trouble::OutOfMemory);
        match self.trouble {
            Some(_) => Err("no memory".to_owned()),
            None => Ok(()),
        }
    }

    /// Mostly small, now and then as large as `noise` allows.
    fn disturbance(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let uniform = (self.seed >> 40) as f64 / (1u64 << 24) as f64;
        1.0 + self.noise * uniform.powi(6)
    }
}

fn default_name(spec: &KernelSpec) -> String {
    let default = CpuKernel::variants(spec)[0];
    assert_eq!(default.instruction_set, InstructionSet::best());
    default.name()
}

impl TuningTarget for Fake {
    fn fingerprint(&self) -> DeviceFingerprint {
        DeviceFingerprint {
            name: "fake".to_owned(),
            ..DeviceFingerprint::cpu()
        }
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn same_bits(&self) -> bool {
        false
    }

    fn operand(&self, spec: &KernelSpec) -> Operand {
        self.cpu.operand(spec)
    }

    fn candidates(
        &self,
        _spec: &KernelSpec,
        _shapes: &[(usize, usize)],
    ) -> Result<Vec<Candidate>, String> {
        let candidate = |made: &Made| Candidate {
            variant: made.name.to_owned(),
            digest: made.digest.to_owned(),
            predicted: Some(1e-9 * made.time as f64),
        };
        Ok(self.made.iter().map(candidate).collect())
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        shape: (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), String> {
        self.survive(variant, Fault::Destroys)?;
        let fault = self.fault(variant);
        if fault == Fault::Absent {
            return Err("no such kernel image".to_owned());
        }
        self.cpu
            .map(spec, &default_name(spec), shape, input, output)?;
        let first = output.iter().position(|value| value.abs() > 1e-3).unwrap();
        match fault {
            Fault::Inexact => output[first] *= 1.01,
            Fault::Forgets => output[first] = f32::NAN,
            _ => {}
        }
        Ok(())
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        case: &mut StepCase,
    ) -> Result<(), String> {
        self.survive(variant, Fault::Destroys)?;
        let steps = self.steps.entry(variant.to_owned()).or_default();
        *steps += 1;
        let odd = *steps % 2 == 1;
        let weight = case.weight.clone();
        self.cpu.step(spec, &default_name(spec), case)?;
        match self.fault(variant) {
            Fault::MapOnly => case.weight = weight,
            Fault::Wavers if odd => case.weight[0] *= 1.0 + f32::EPSILON,
            _ => {}
        }
        Ok(())
    }

    fn load(&mut self, _spec: &KernelSpec, _shapes: &[(usize, usize)]) -> Result<(), String> {
        Ok(())
    }

    fn run(&mut self, _: &KernelSpec, variant: &str, caches: CacheState) -> Result<u64, String> {
        let total: usize = self.runs.values().sum();
        if let Some((at, stop)) = &self.stop_at
            && total >= *at
        {
            stop.store(true, Ordering::Relaxed);
        }
        *self.runs.entry(variant.to_owned()).or_default() += 1;
        self.survive(variant, Fault::DestroysLater)?;
        if self.fault(variant) == Fault::Breaks {
            return Err("an illegal address".to_owned());
        }
        let time = self
            .made
            .iter()
            .find(|made| made.name == variant)
            .unwrap()
            .time;
        let time = time as f64 * self.disturbance();
        Ok(match caches {
            CacheState::Cold => time,
            CacheState::Warm => 0.5 * time,
        } as u64)
    }
}
