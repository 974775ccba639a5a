//! The same bits whatever the number of threads, the chunks, or the order of other layers.

use crate::model::Model;
use crate::refusals::state_of;

#[test]
fn threads_and_budgets_change_no_bit() {
    let run = |threads: usize, budget: Option<u64>| {
        let mut model = Model::mixed();
        let mut builder = model.grouped().threads(threads);
        if let Some(bytes) = budget {
            builder = builder.memory_budget(bytes);
        }
        let mut optimizer = builder.build().unwrap();
        let chunks: usize = {
            let plan = optimizer.plan(0).unwrap();
            plan.launches.iter().map(|launch| launch.chunks.len()).sum()
        };
        for _ in 0..3 {
            model.step(&mut optimizer);
        }
        (chunks, model.bits(), state_of(&optimizer))
    };
    let (_, bits, state) = run(1, None);
    for threads in [2, 3] {
        let (_, other_bits, other_state) = run(threads, None);
        assert_eq!(bits, other_bits, "{threads} threads");
        assert!(state == other_state, "{threads} threads");
    }
    let smallest = smallest_budget();
    let (_, other_bits, other_state) = run(3, Some(smallest));
    assert_eq!(bits, other_bits);
    assert!(state == other_state);
}

/// The workspace of one thread is the least that a plan can do with.
fn smallest_budget() -> u64 {
    let model = Model::mixed();
    let optimizer = model.grouped().threads(1).build().unwrap();
    let plan = optimizer.plan(0).unwrap();
    plan.workspace_bytes
}

#[test]
fn a_layer_gets_the_same_bits_alone_and_among_others() {
    let mut all = Model::mixed();
    let mut optimizer = all.grouped().build().unwrap();
    all.step(&mut optimizer);
    let mut alone = Model::mixed();
    let mut other = alone.grouped().build().unwrap();
    let gradients = alone.gradients(0);
    let mut parameters = alone.with(&gradients);
    for (index, parameter) in parameters.iter_mut().enumerate() {
        if index != 4 {
            parameter.gradient = None;
        }
    }
    other.step(&mut parameters).unwrap();
    assert_eq!(all.weights[4], alone.weights[4]);
}
