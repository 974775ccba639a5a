//! The arithmetic of one instruction on 32 lanes. Registers hold 64 bits a lane; narrower values are zero-extended.
//!
//! Each operation is a loop over the lanes that the compiler can vectorise, chosen once when a kernel is decoded.

pub(crate) mod bits;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod float;
pub(crate) mod half_float;
pub(crate) mod integer;
pub(crate) mod rounding;
pub(crate) mod vectorise;

use half::{bf16, f16};

/// Lanes of a warp.
pub(crate) const WARP: usize = 32;

/// One register of a warp.
pub(crate) type Lanes = [u64; WARP];

/// A function of one to four registers.
#[derive(Clone, Copy)]
pub(crate) enum LaneFn {
    Unary(fn(&mut Lanes, &Lanes)),
    Binary(fn(&mut Lanes, &Lanes, &Lanes)),
    Ternary(fn(&mut Lanes, &Lanes, &Lanes, &Lanes)),
    Quaternary(fn(&mut Lanes, &Lanes, &Lanes, &Lanes, &Lanes)),
}

impl LaneFn {
    /// Number of sources.
    pub(crate) fn arity(self) -> usize {
        match self {
            Self::Unary(_) => 1,
            Self::Binary(_) => 2,
            Self::Ternary(_) => 3,
            Self::Quaternary(_) => 4,
        }
    }
}

impl std::fmt::Debug for LaneFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LaneFn/{}", self.arity())
    }
}

/// A comparison: a mask with one bit for each lane.
#[derive(Clone, Copy)]
pub(crate) struct CompareFn(pub fn(&Lanes, &Lanes) -> u32);

impl std::fmt::Debug for CompareFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CompareFn")
    }
}

/// A value as it lies in one lane of a register.
pub(crate) trait Lane: Copy {
    fn from_lane(lane: u64) -> Self;
    fn to_lane(self) -> u64;
}

macro_rules! integer_lane {
    ($($type:ty => $unsigned:ty),*) => {$(
        impl Lane for $type {
            #[inline(always)]
            fn from_lane(lane: u64) -> Self {
                lane as Self
            }
            #[inline(always)]
            fn to_lane(self) -> u64 {
                u64::from(self as $unsigned)
            }
        }
    )*};
}

integer_lane!(u8 => u8, u16 => u16, u32 => u32, u64 => u64, i8 => u8, i16 => u16, i32 => u32, i64 => u64);

macro_rules! float_lane {
    ($($type:ty, $bits:ty);*) => {$(
        impl Lane for $type {
            #[inline(always)]
            fn from_lane(lane: u64) -> Self {
                Self::from_bits(lane as $bits)
            }
            #[inline(always)]
            fn to_lane(self) -> u64 {
                u64::from(self.to_bits())
            }
        }
    )*};
}

float_lane!(f32, u32; f64, u64; f16, u16; bf16, u16);

/// Two 16-bit values, the lower one first.
impl<T: Half> Lane for [T; 2] {
    #[inline(always)]
    fn from_lane(lane: u64) -> Self {
        [
            T::from_lane(lane & 0xffff),
            T::from_lane((lane >> 16) & 0xffff),
        ]
    }
    #[inline(always)]
    fn to_lane(self) -> u64 {
        self[0].to_lane() | (self[1].to_lane() << 16)
    }
}

/// A 16-bit value that may be packed in pairs.
pub(crate) trait Half: Lane {}
impl Half for u16 {}
impl Half for i16 {}
impl Half for f16 {}
impl Half for bf16 {}

macro_rules! from_function {
    ($($variant:ident($($source:ty),+)),+) => {$(
        impl From<fn(&mut Lanes, $($source),+)> for LaneFn {
            fn from(f: fn(&mut Lanes, $($source),+)) -> Self {
                Self::$variant(f)
            }
        }
    )+};
}

from_function!(
    Unary(&Lanes),
    Binary(&Lanes, &Lanes),
    Ternary(&Lanes, &Lanes, &Lanes),
    Quaternary(&Lanes, &Lanes, &Lanes, &Lanes)
);

/// The loop of [`lane_fn!`] and [`vector_fn!`].
macro_rules! for_each_lane {
    ($dst:ident, |$($source:ident: $type:ty),+| $body:expr) => {
        for lane in 0..$crate::lanes::WARP {
            let result = {
                $(let $source = <$type as $crate::lanes::Lane>::from_lane($source[lane]);)+
                $body
            };
            $dst[lane] = $crate::lanes::Lane::to_lane(result);
        }
    };
}
pub(crate) use for_each_lane;

macro_rules! lanes_type {
    ($source:ident) => {
        &$crate::lanes::Lanes
    };
}
pub(crate) use lanes_type;

/// Makes a [`LaneFn`] from a closure with typed arguments: `lane_fn!(|a: u32, b: u32| a.wrapping_add(b))`.
macro_rules! lane_fn {
    (|$($source:ident: $type:ty),+| $body:expr) => {{
        fn run(dst: &mut $crate::lanes::Lanes, $($source: &$crate::lanes::Lanes),+) {
            $crate::lanes::for_each_lane!(dst, |$($source: $type),+| $body);
        }
        let run: fn(&mut $crate::lanes::Lanes, $($crate::lanes::lanes_type!($source)),+) = run;
        $crate::lanes::LaneFn::from(run)
    }};
}
pub(crate) use lane_fn;

/// As [`lane_fn!`], compiled for the processor's vector unit too: for what kernels execute most.
macro_rules! vector_fn {
    (|$($source:ident: $type:ty),+| $body:expr) => {{
        struct Run<'l> {
            dst: &'l mut $crate::lanes::Lanes,
            $($source: &'l $crate::lanes::Lanes),+
        }
        impl pulp::NullaryFnOnce for Run<'_> {
            type Output = ();
            #[inline(always)]
            fn call(self) {
                let Self { dst, $($source),+ } = self;
                $crate::lanes::for_each_lane!(dst, |$($source: $type),+| $body);
            }
        }
        fn run(dst: &mut $crate::lanes::Lanes, $($source: &$crate::lanes::Lanes),+) {
            $crate::lanes::vectorise::vectorised(Run { dst, $($source),+ })
        }
        let run: fn(&mut $crate::lanes::Lanes, $($crate::lanes::lanes_type!($source)),+) = run;
        $crate::lanes::LaneFn::from(run)
    }};
}
pub(crate) use vector_fn;
