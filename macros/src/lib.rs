//! The `#[himuon]` attribute.

use proc_macro::TokenStream;

/// Declares the kernels of a layer, on the struct that configures it.
///
/// The struct is left as it is and implements `himuon::LayerConfig`, which hands the runtime one
/// specification per tile and the rendered CUDA text of each.
///
/// ```text
/// #[himuon::himuon(tile = 128, steps = 5, coefficients = "polar-express", element = "bf16")]
/// struct Attention;
///
/// #[himuon::himuon(tiles = ["full", 128])]
/// struct Scheduled;
///
/// #[himuon::himuon(tile = (64, 256), power = "1/2")]
/// struct FineTuned;
/// ```
///
/// | key | accepted | default |
/// |---|---|---|
/// | `tile` | edge `128`, `(rows, columns)` or `"full"`; edges 1 to 65536 | required |
/// | `tiles` | instead of `tile`: every tile that a schedule may use, the first is the default | |
/// | `coefficients` | `"muon"`, `"cubic"`, `"quintic"`, `"polar-express"`, `"you"`, `"turbo"`, `"cans"`, `"minimax(lower)"`, or a list `[(a, b, c), ...]` | `"muon"` |
/// | `steps` | what the coefficients are made for: 1 to 10; `polar-express` 5 to 32, `you` 5, `turbo` 4, `cans` 9 to 32, a list its length | 5, `turbo` 4, `cans` 9 |
/// | `power` | p of U S^p V^T, `"1/2"` or `0.5` | 0 |
/// | `recurrence` | for 0 < p < 1: `"fitted"` (p = 1/4, 1/3, 1/2, 2/3, 3/4; steps 3 to 8), `"coupled"` (denominator at most 8; steps 1 to 10), `"authors"` (1/3) | `"fitted"`, steps 6 |
/// | `element` | `"f32"`, `"bf16"`, `"f16"`: short for weight, gradient and operand of this type | `"f32"` |
/// | `weight`, `momentum`, `operand` | types one by one; momentum `"f32"` or `"bf16"`, operand also `"tf32"` | from `element`, momentum `"f32"` |
/// | `master_weights` | `true`: beside bf16 weights the optimizer keeps the 16 bits that an f32 weight has more | `false` |
/// | `mode` | `"accurate"` or `"reference"` (the published rounding points) | `"accurate"` |
/// | `criterion` | `"fro_norm(t)"`, `"effective_rank(t)"`, `"nuclear_rank(t)"`, `"min_gap(t)"`: orthogonalise only where it holds | `"always"` |
/// | `scope`, `otherwise` | `"tile"` or `"matrix"`; `"momentum"` or `"rms-matched"` | `"tile"`, `"momentum"` |
/// | `coarse` | rank 1 to 512 of the coarse part that couples the tiles, 0: tiles alone. Not with tile `"full"` (in `tiles` that one has none), mode `"reference"`, power 1 or a criterion; on CUDA only at power 0 | 0 |
/// | `fine` | what the tiles add to the coarse part: `"fused"` (their own maps), `"projected"` (the maps of what the coarse part leaves, orthogonal to it; more work) or `"none"` (nothing); only with `coarse` | `"fused"` |
/// | `crate` | path of the crate `himuon`, if it is renamed or re-exported | `"::himuon"` |
#[proc_macro_attribute]
pub fn himuon(args: TokenStream, item: TokenStream) -> TokenStream {
    himuon_codegen::expand(args.into(), item.into()).into()
}
