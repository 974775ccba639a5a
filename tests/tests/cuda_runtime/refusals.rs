//! What the CUDA kernels do not compute is refused when the optimizer is built, and what they do not take when a step is
//! prepared: by name, with what to do instead, and with nothing changed.

use std::sync::Arc;

use cudarc::driver::CudaContext;
use himuon::cuda::{DeviceMut, DeviceRef};
use himuon::optimizer::{MuonOptions, NorMuon};
use himuon::templates::Element;
use himuon::{Error, HiMuon, ParameterStep};

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, spec, tile};

#[test]
fn what_only_the_cpu_computes_is_refused_when_the_optimizer_is_built() {
    let test = "refusals::what_only_the_cpu_computes_is_refused_when_the_optimizer_is_built";
    emulated(test, &[], || {
        let device = OnDevice::new(&Model::new(&[], 0));
        let of = |text: &str| MuonOptions::specs([spec(text)]);
        let cases = [
            (
                of("tile=16 power=1/2").row_normalisation(NorMuon::default()),
                ["row normalisation at power 1/2", "run on the CPU"],
            ),
            (
                of("tile=16 criterion=fro_norm(0.1)").row_normalisation(NorMuon::default()),
                ["row normalisation with a criterion", "run on the CPU"],
            ),
            (
                of("tile=16 criterion=min_gap(1e-6)"),
                ["min_gap", "accepted per tile are"],
            ),
            (
                of("tile=16 criterion=effective_rank(0.1) scope=matrix"),
                ["decided on the host", "scope tile"],
            ),
            (
                of("tile=16 coarse=4 fine=projected power=1/2"),
                ["coarse part at power 1/2", "run on the CPU"],
            ),
            // The same for tiles that are streamed.
            (
                of("tile=full power=1/2").row_normalisation(NorMuon::default()),
                ["row normalisation at power 1/2", "run on the CPU"],
            ),
            (
                of("tile=full criterion=min_gap(1e-6)"),
                ["min_gap", "accepted per tile are"],
            ),
        ];
        for (options, expected) in cases {
            let builder = || HiMuon::builder().parameter("w", &[40, 24]);
            let refused = builder()
                .group_with("w", options.clone())
                .build_on(device.backend());
            let error = refused.unwrap_err().to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
            // It is not the declaration that is at fault.
            builder().group_with("w", options).build().unwrap();
        }
    });
}

#[test]
fn tensors_that_kernels_do_not_take_are_refused_with_every_bit_as_it_was() {
    let test = "refusals::tensors_that_kernels_do_not_take_are_refused_with_every_bit_as_it_was";
    emulated(test, &[], || {
        let model = Model::new(
            &[("embed.weight", &[9, 8]), ("blocks.0.q.weight", &[20, 20])],
            1,
        );
        let refused = |gaps: Vec<usize>, consuming: bool| {
            let mut device = OnDevice::strided(0, &model, gaps);
            let mut backend = device.backend();
            if consuming {
                // SAFETY: nobody but the step uses these gradients.
                backend = Box::new(unsafe { backend.consuming_gradients() });
            }
            let specs = [spec("tile=16 power=1/2")];
            let mut optimizer = model.builder(&specs).build_on(backend).unwrap();
            let before = device.bits();
            let error = device.try_step(&mut optimizer).unwrap_err();
            assert!(matches!(error, Error::Backend(_)), "{error}");
            assert_eq!(device.bits(), before);
            assert_eq!(optimizer.steps_taken(), 0);
            error.to_string()
        };
        let error = refused(vec![3, 0], false);
        assert!(error.contains("AdamW takes contiguous tensors"), "{error}");
        let error = refused(vec![0, 3], true);
        assert!(
            error.contains("rows start 23 numbers apart, expected 20"),
            "{error}"
        );
    });
}

#[test]
fn strided_tensors_that_are_not_the_matrices_are_refused() {
    let test = "refusals::strided_tensors_that_are_not_the_matrices_are_refused";
    emulated(test, &[], || {
        let model = Model::new(&[("blocks.0.q.weight", &[20, 20])], 1);
        let mut device = OnDevice::strided(0, &model, vec![30]);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        device.step(&mut optimizer);
        let before = device.bits();
        for (rows, columns, leading) in [(10, 40, 50), (40, 10, 25), (20, 20, 3), (20, 20, 0)] {
            let mut parameters = device.parameters();
            let ParameterStep { weight, gradient } = parameters.remove(0);
            let (at, of) = (weight.address(), gradient.unwrap().address());
            // SAFETY: both slices hold 20 * 50 numbers and outlive the step.
            let [bad, good] = unsafe {
                let strided = |rows, columns, leading| {
                    let gradient = DeviceRef::strided(of, Element::F32, rows, columns, leading);
                    let weight = DeviceMut::strided(at, Element::F32, rows, columns, leading);
                    (weight, gradient)
                };
                [strided(rows, columns, leading), strided(20, 20, 50)]
            };
            for (weight, gradient, tensor) in [
                (bad.0, good.1, "the weight has"),
                (good.0, bad.1, "the gradient has"),
            ] {
                let gradient = Some(gradient);
                let passed = ParameterStep { weight, gradient };
                let error = optimizer.step(&mut [passed]).unwrap_err().to_string();
                let found =
                    format!("{tensor} rows of {columns} numbers that start {leading} apart");
                assert!(error.contains(&found), "{error}");
                assert!(error.contains("expected rows of 20"), "{error}");
            }
        }
        assert_eq!(device.bits(), before);
    });
}

#[test]
fn a_gradient_of_another_type_than_its_weight_is_refused() {
    let test = "refusals::a_gradient_of_another_type_than_its_weight_is_refused";
    emulated(test, &[], || {
        let model = Model::new(&[("blocks.0.q.weight", &[20, 20])], 1);
        let mut device = OnDevice::new(&model);
        let half = device.stream.alloc_zeros::<half::bf16>(400).unwrap();
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        let before = device.bits();
        let stream = Arc::clone(&device.stream);
        let mut parameters = device.parameters();
        parameters[0].gradient = Some(DeviceRef::of(&half, &stream));
        let error = optimizer.step(&mut parameters).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("the gradient is Bf16, expected F32"),
            "{text}"
        );
        drop(parameters);
        assert_eq!(device.bits(), before);
    });
}

/// The kernels would fault on the one, and would not wait for what writes the other.
#[test]
fn slices_of_another_device_or_stream_are_refused() {
    let test = "refusals::slices_of_another_device_or_stream_are_refused";
    emulated(test, &[("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80")], || {
        let model = Model::new(&[("blocks.0.q.weight", &[20, 20])], 1);
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        let before = device.bits();
        let neighbour = CudaContext::new(1).unwrap().new_stream().unwrap();
        let elsewhere = neighbour.alloc_zeros::<f32>(400).unwrap();
        let stream = Arc::clone(&device.stream);
        let other = stream.context().new_stream().unwrap();
        let here = stream.alloc_zeros::<f32>(400).unwrap();
        for (slice, stream, reason) in [
            (
                &elsewhere,
                &neighbour,
                "the gradient is a slice of another device",
            ),
            (
                &elsewhere,
                &stream,
                "the gradient is a slice of another device",
            ),
            (
                &here,
                &other,
                "the gradient was borrowed for another stream",
            ),
        ] {
            let mut parameters = device.parameters();
            parameters[0].gradient = Some(DeviceRef::part_of(slice, 0..400, stream));
            let error = optimizer.step(&mut parameters).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            drop(parameters);
            assert_eq!(device.bits(), before);
        }
        device.step(&mut optimizer);
    });
}

#[test]
fn maps_that_wait_in_gradients_change_no_bit_and_take_no_workspace() {
    let test = "refusals::maps_that_wait_in_gradients_change_no_bit_and_take_no_workspace";
    emulated(test, &[], || {
        let model = Model::new(
            &[
                ("blocks.0.q.weight", &[40, 50]),
                ("blocks.0.experts", &[2, 20, 30]),
            ],
            6,
        );
        for text in ["tile=16 power=1/2", "tile=full power=1/2"] {
            let run = |consuming: bool| {
                let mut device = OnDevice::new(&model);
                let mut backend = device.backend();
                if consuming {
                    // SAFETY: nobody but the step uses these gradients.
                    backend = Box::new(unsafe { backend.consuming_gradients() });
                }
                let builder = model.builder(&[spec(text)]);
                let mut optimizer = builder.build_on(backend).unwrap();
                (0..2).for_each(|_| drop(device.step(&mut optimizer)));
                let gradient = device.gradients[0].as_ref().unwrap();
                let kept = device.stream.clone_dtoh(gradient).unwrap() == model.gradients(1)[0];
                let bytes = optimizer.explain().unwrap().totals.workspace_bytes;
                (device.bits(), bytes, kept)
            };
            let (bits, bytes, kept) = run(false);
            let (found, fewer, left) = run(true);
            assert!(found == bits);
            assert!(kept && !left);
            // 8 000 and 2 x 2 400 bytes, each rounded up to 256.
            assert_eq!(bytes - fewer, 8192 + 2 * 2560, "{text}");
        }
        // At power 0 nothing waits.
        let mut device = OnDevice::new(&model);
        // SAFETY: nobody but the step uses these gradients.
        let backend = Box::new(unsafe { device.backend().consuming_gradients() });
        let mut optimizer = model.builder(&[tile(16)]).build_on(backend).unwrap();
        device.step(&mut optimizer);
        let gradient = device.gradients[0].as_ref().unwrap();
        assert!(device.stream.clone_dtoh(gradient).unwrap() == model.gradients(0)[0]);
    });
}
