//! Declaring parameters and groups.

use std::ffi::c_char;

use himuon::optimizer::HiMuonBuilder;
use himuon::templates::CompiledKernel;

use crate::optimizer::Optimizer;
use crate::options::{AdamWOptions, MuonOptions};
use crate::place::Place;
use crate::rates::check_rate;
use crate::rules::{self, NonFinite};
use crate::sized::read;
use crate::status::{Failure, Status, guarded};
use crate::text::{borrowed, cleared};

/// An optimizer that is being declared.
#[derive(Debug, Default)]
pub struct Builder {
    pub(crate) declared: HiMuonBuilder,
    /// Compiled kernels for a CUDA device.
    pub(crate) kernels: Vec<&'static [CompiledKernel]>,
}

impl Builder {
    pub(crate) fn change(&mut self, change: impl FnOnce(HiMuonBuilder) -> HiMuonBuilder) {
        self.declared = change(std::mem::take(&mut self.declared));
    }
}

/// # Safety
/// `builder` is null or comes from `himuon_builder_new` and is this thread's.
pub(crate) unsafe fn builder_at<'a>(builder: *mut Builder) -> Result<&'a mut Builder, Failure> {
    // SAFETY: the caller's word.
    unsafe { builder.as_mut() }
        .ok_or_else(|| Failure::argument("the builder is null, expected one of himuon_builder_new"))
}

/// A builder without parameters, to be ended by `himuon_build`, `himuon_build_cuda` or `himuon_builder_free`.
#[unsafe(no_mangle)]
pub extern "C" fn himuon_builder_new() -> *mut Builder {
    Box::into_raw(Box::default())
}

/// Frees a builder that is not built. Null is ignored.
///
/// # Safety
/// `builder` comes from `himuon_builder_new` and was neither built nor freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_free(builder: *mut Builder) {
    if !builder.is_null() {
        // SAFETY: the caller's word.
        drop(unsafe { Box::from_raw(builder) });
    }
}

/// Declares a parameter, row-major and contiguous, of the `rank` sizes at `shape`. Steps pass parameters in this order.
///
/// # Safety
/// `builder` is a builder, `name` a text that ends with a zero, `shape` points to `rank` sizes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_parameter(
    builder: *mut Builder,
    name: *const c_char,
    shape: *const usize,
    rank: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, name) = unsafe { (builder_at(builder)?, borrowed(name, "the name")?) };
        let shape = match (shape.is_null(), rank) {
            (_, 0) => &[],
            (true, _) => {
                return Err(Failure::argument(format!(
                    "the shape of {name} is null, expected {rank} sizes"
                )));
            }
            // SAFETY: not null, and as long by the caller's word.
            (false, _) => unsafe { std::slice::from_raw_parts(shape, rank) },
        };
        builder.change(|builder| builder.parameter(name, shape));
        Ok(())
    })
}

/// The matrices whose name matches `pattern` are mapped tile by tile. `specifications` is one as
/// `tile=64 steps=5 coefficients=polar-express`, or several separated by `;`, of which the first holds. The first group that
/// matches takes a parameter; null options are the default ones.
///
/// A pattern that is the name of a parameter means that parameter alone, an embedding or a head too. Otherwise `*` stands for
/// any part of a name, dots included, `?` for one character, `[ab]` for one of several, `{q,k}` for one of several texts, and
/// `\` before one of these for the character itself; vectors, and what is an embedding or a head by its name, go to AdamW. The
/// text of the pattern is the group's name, by which it is explained and set.
///
/// # Safety
/// `builder` is a builder, both texts end with a zero, `options` is null or points to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_group(
    builder: *mut Builder,
    pattern: *const c_char,
    specifications: *const c_char,
    options: *const MuonOptions,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, pattern, specifications, options) = unsafe {
            (
                builder_at(builder)?,
                borrowed(pattern, "the pattern")?,
                borrowed(specifications, "the specification")?,
                read(options, MuonOptions::default())?,
            )
        };
        let options = options.resolve(specifications)?;
        builder.change(|builder| builder.group_with(pattern, options));
        Ok(())
    })
}

/// As `himuon_builder_group`, for the `count` parameters of `names`; `group` is the name by which the group is explained and set.
/// Embeddings and heads among them go to AdamW, unless the options have `every_matrix`.
///
/// # Safety
/// `builder` is a builder, all texts end with a zero, `names` points to `count` of them, `options` is null or points to
/// options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_group_of(
    builder: *mut Builder,
    group: *const c_char,
    names: *const *const c_char,
    count: usize,
    specifications: *const c_char,
    options: *const MuonOptions,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, group, names, specifications, options) = unsafe {
            (
                builder_at(builder)?,
                borrowed(group, "the group")?,
                names_at(names, count)?,
                borrowed(specifications, "the specification")?,
                read(options, MuonOptions::default())?,
            )
        };
        let options = options.resolve(specifications)?;
        builder.change(|builder| builder.group_of(group, names, options));
        Ok(())
    })
}

/// # Safety
/// `names` is null or points to `count` texts that end with a zero.
unsafe fn names_at(names: *const *const c_char, count: usize) -> Result<Vec<String>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if names.is_null() {
        return Err(Failure::argument(format!(
            "the names are null, expected {count} texts"
        )));
    }
    // SAFETY: not null, and as long by the caller's word.
    let names = unsafe { std::slice::from_raw_parts(names, count) }.iter();
    names
        // SAFETY: the caller's word.
        .map(|name| Ok(unsafe { borrowed(*name, "a name of the group")? }.to_owned()))
        .collect()
}

/// The parameters whose name matches `pattern` are updated by AdamW; null options are the default ones. So are those that no
/// group takes, and what a group of tiles leaves: vectors, embeddings and heads. Of the latter the first group of AdamW after
/// that one which matches has the options, else the default ones hold: the pattern `*` last gives all of them options.
///
/// # Safety
/// `builder` is a builder, `pattern` ends with a zero, `options` is null or points to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_group_adamw(
    builder: *mut Builder,
    pattern: *const c_char,
    options: *const AdamWOptions,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, pattern, options) = unsafe {
            (
                builder_at(builder)?,
                borrowed(pattern, "the pattern")?,
                read(options, AdamWOptions::default())?,
            )
        };
        builder.change(|builder| builder.group_with(pattern, options.resolve()));
        Ok(())
    })
}

/// The learning rate that groups follow; 0.02 without this call.
///
/// # Safety
/// `builder` is a builder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_learning_rate(builder: *mut Builder, rate: f64) -> Status {
    guarded(|| {
        check_rate(rate)?;
        // SAFETY: the caller's word.
        unsafe { builder_at(builder)? }.change(|builder| builder.learning_rate(rate));
        Ok(())
    })
}

/// Bytes of scratch memory that no launch may pass; no limit without this call.
///
/// # Safety
/// `builder` is a builder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_memory_budget(builder: *mut Builder, bytes: u64) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        unsafe { builder_at(builder)? }.change(|builder| builder.memory_budget(bytes));
        Ok(())
    })
}

/// What a NaN or an infinity does: one of `HIMUON_NON_FINITE_...`, `HIMUON_NON_FINITE_SKIP_TILE` without this call. On a device the
/// other two wait for its answer at every step.
///
/// # Safety
/// `builder` is a builder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_non_finite(
    builder: *mut Builder,
    policy: NonFinite,
) -> Status {
    guarded(|| {
        let policy = rules::non_finite(policy)?;
        // SAFETY: the caller's word.
        unsafe { builder_at(builder)? }.change(|builder| builder.non_finite(policy));
        Ok(())
    })
}

/// Threads of a step on the CPU; all that the system offers without this call. Without effect on a CUDA device.
///
/// # Safety
/// `builder` is a builder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_threads(builder: *mut Builder, threads: usize) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        unsafe { builder_at(builder)? }.change(|builder| builder.threads(threads));
        Ok(())
    })
}

/// Builds the optimizer on the CPU and puts it into `optimizer`, or null if it fails. The builder is freed in any case.
///
/// # Safety
/// `builder` is a builder, which is not used after this; `optimizer` points to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_build(
    builder: *mut Builder,
    optimizer: *mut *mut Optimizer,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, place) = unsafe { taken(builder, optimizer)? };
        let built = builder.declared.build()?;
        *place = Box::into_raw(Box::new(Optimizer::new(Place::Host(built))));
        Ok(())
    })
}

/// A builder that is built now, and the place for what comes of it. The builder is freed in any case.
///
/// # Safety
/// `builder` is null or a builder, which is not used after this; `optimizer` is null or points to a place for a handle.
pub(crate) unsafe fn taken<'a>(
    builder: *mut Builder,
    optimizer: *mut *mut Optimizer,
) -> Result<(Builder, &'a mut *mut Optimizer), Failure> {
    // SAFETY: null or a place, by the caller's word.
    let place = unsafe { cleared(optimizer) };
    if builder.is_null() {
        return Err(Failure::argument(
            "the builder is null, expected one of himuon_builder_new",
        ));
    }
    // SAFETY: from `himuon_builder_new`, and used no more, by the caller's word.
    let builder = unsafe { *Box::from_raw(builder) };
    let place = place.ok_or_else(|| {
        Failure::argument("the place of the optimizer is null, expected a himuon_optimizer**")
    })?;
    Ok((builder, place))
}
