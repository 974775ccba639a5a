//! What options are chosen from, by number.

use himuon::launch::ScaleRule;
use himuon::optimizer::{self, NonFinitePolicy};

use crate::status::Failure;

/// How a mapped h x w tile of an H x W matrix is scaled, f = `scale_factor`.
pub type Scale = u32;

/// f sqrt(max(h, w)).
pub const HIMUON_SCALE_EXACT: Scale = 0;
/// f sqrt of the longer edge of a whole tile, ragged or not.
pub const HIMUON_SCALE_PAPER: Scale = 1;
/// sqrt(max(1, H / W)).
pub const HIMUON_SCALE_ORIGINAL: Scale = 2;
/// f sqrt(max(H, W)).
pub const HIMUON_SCALE_MATCH_RMS_ADAMW: Scale = 3;
/// 1.
pub const HIMUON_SCALE_NONE: Scale = 4;

/// What the rows of a matrix are.
pub type Layout = u32;

/// Outputs, as torch stores them.
pub const HIMUON_LAYOUT_OUT_IN: Layout = 0;
/// Inputs, as dense layers of flax have them.
pub const HIMUON_LAYOUT_IN_OUT: Layout = 1;

/// What a parameter of three or more dimensions holds.
pub type View = u32;

/// Four dimensions are a convolution, three are refused.
pub const HIMUON_VIEW_AUTOMATIC: View = 0;
/// (out, in, kh, kw), a matrix of out x (in kh kw).
pub const HIMUON_VIEW_CONVOLUTION: View = 1;
/// (experts, H, W), each a matrix of its own.
pub const HIMUON_VIEW_STACK: View = 2;

/// What a NaN or an infinity in a gradient or momentum does.
pub type NonFinite = u32;

/// Its tile is left alone and counted; of AdamW's parameters the whole, on a device the number.
pub const HIMUON_NON_FINITE_SKIP_TILE: NonFinite = 0;
/// The whole step is skipped, and counted as taken: nothing changes.
pub const HIMUON_NON_FINITE_SKIP_STEP: NonFinite = 1;
/// The step is refused by name: nothing changes.
pub const HIMUON_NON_FINITE_ERROR: NonFinite = 2;

/// The value of a number; `names` are those of the constants, from 0 on.
fn chosen<T: Copy>(what: &str, found: u32, names: &[(&str, T)]) -> Result<T, Failure> {
    names
        .get(found as usize)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names = names.iter().enumerate();
            let names: Vec<_> = names
                .map(|(number, (name, _))| format!("{name} ({number})"))
                .collect();
            Failure::argument(format!(
                "{what} is {found}, expected {}",
                names.join(" or ")
            ))
        })
}

pub(crate) fn scale(found: Scale) -> Result<ScaleRule, Failure> {
    let names = [
        ("HIMUON_SCALE_EXACT", ScaleRule::Exact),
        ("HIMUON_SCALE_PAPER", ScaleRule::Paper),
        ("HIMUON_SCALE_ORIGINAL", ScaleRule::Original),
        ("HIMUON_SCALE_MATCH_RMS_ADAMW", ScaleRule::MatchRmsAdamW),
        ("HIMUON_SCALE_NONE", ScaleRule::None),
    ];
    chosen("the scale", found, &names)
}

pub(crate) fn layout(found: Layout) -> Result<optimizer::Layout, Failure> {
    let names = [
        ("HIMUON_LAYOUT_OUT_IN", optimizer::Layout::OutIn),
        ("HIMUON_LAYOUT_IN_OUT", optimizer::Layout::InOut),
    ];
    chosen("the layout", found, &names)
}

pub(crate) fn view(found: View) -> Result<optimizer::View, Failure> {
    let names = [
        ("HIMUON_VIEW_AUTOMATIC", optimizer::View::Automatic),
        ("HIMUON_VIEW_CONVOLUTION", optimizer::View::Convolution),
        ("HIMUON_VIEW_STACK", optimizer::View::Stack),
    ];
    chosen("the view", found, &names)
}

pub(crate) fn non_finite(found: NonFinite) -> Result<NonFinitePolicy, Failure> {
    let names = [
        ("HIMUON_NON_FINITE_SKIP_TILE", NonFinitePolicy::SkipTile),
        ("HIMUON_NON_FINITE_SKIP_STEP", NonFinitePolicy::SkipStep),
        ("HIMUON_NON_FINITE_ERROR", NonFinitePolicy::Error),
    ];
    chosen("the policy of what is not finite", found, &names)
}
