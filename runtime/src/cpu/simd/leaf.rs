//! Functions that are compiled with an instruction set's features.

/// Defines functions `name(simd, arguments...)` whose body is compiled once for each instruction set, as a
/// function of its own with that set's features; callers need none.
macro_rules! leaf {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis unsafe fn $name:ident $(<$(const $constant:ident: $constant_type:ty),+>)?
            ($simd:ident: S $(, $argument:ident: $type:ty)* $(,)?) $(-> $output:ty)? $body:block
    )+) => {$(
        $(#[$attribute])*
        #[inline]
        #[allow(clippy::too_many_arguments, reason = "a product names its operands, sizes and finish")]
        $visibility unsafe fn $name<S: $crate::cpu::simd::Simd $($(, const $constant: $constant_type)+)?>(
            simd: S $(, $argument: $type)*
        ) $(-> $output)? {
            struct Leaf $(<$(const $constant: $constant_type),+>)? { $($argument: $type),* }
            impl $(<$(const $constant: $constant_type),+>)? $crate::cpu::simd::Vectorized
                for Leaf $(<$($constant),+>)?
            {
                type Output = leaf!(@output $($output)?);
                #[inline(always)]
                fn run<S: $crate::cpu::simd::Simd>(self, $simd: S) -> Self::Output {
                    let Leaf { $($argument),* } = self;
                    $body
                }
            }
            simd.vectorize(Leaf $(::<$($constant),+>)? { $($argument),* })
        }
    )+};
    (@output) => { () };
    (@output $output:ty) => { $output };
}
pub(crate) use leaf;
