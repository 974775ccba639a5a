//! What only a GPU can show: times. The other tests that run on one are those of `emulated_and_on_gpu`.

use himuon::cuda::CudaTarget;
use himuon::tuning::{Clock, TuneJob, TuneOptions, Tuner, Verdict};

use crate::emulator::on_gpu;
use crate::model::spec;

/// Every candidate that the model picks computes the right map, and the table says how fast each is.
#[test]
fn a_gpu_is_tuned() {
    on_gpu("gpu::a_gpu_is_tuned", || {
        let mut target = CudaTarget::new(0).unwrap();
        let jobs =
            ["tile=32 element=bf16", "tile=128 element=bf16", "tile=64"].map(|text| TuneJob {
                spec: spec(text),
                shapes: vec![(1024, 1024); 4],
            });
        let options = TuneOptions {
            candidates: Some(6),
            ..TuneOptions::default()
        };
        let tuned = Tuner::new(&mut target, options)
            .tune(&jobs, None, &mut |_| {})
            .unwrap();
        for job in &jobs {
            let entry = tuned.table.entry(&job.spec, job.class()).unwrap();
            for record in &entry.candidates {
                println!(
                    "measured: {} {}: {:?} of the winner, error {:?} {}",
                    job.spec, record.variant, record.relative, record.error, record.reason
                );
                assert_eq!(record.verdict, Verdict::Measured, "{record:?}");
            }
            let winner = entry.candidate(&entry.winner).unwrap();
            assert!(winner.cold_ns.iter().all(|ns| *ns > 0), "{winner:?}");
            // A rehearsal on the emulator counts instructions.
            assert_ne!(entry.clock, Clock::Monotonic);
        }
    });
}
