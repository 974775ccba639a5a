//! A declared parameter: its group, its matrices, its state.

use std::borrow::Cow;

use himuon_templates::{KernelSpec, Power, Tile};

use super::buffers::ParameterState;
use super::error::BuildError;
use super::group::{Layout, MuonOptions, View};
use crate::launch::{CoarseFigures, GroupScalars, ScaleRule, TileDiagnostics};
use crate::memory::Memory;

/// The matrices that a parameter holds, all of one shape, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatrixView {
    pub(crate) count: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows are inputs.
    pub(crate) transposed: bool,
}

#[derive(Debug)]
pub(crate) struct Parameter<M: Memory> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) len: usize,
    /// Index of the group that updates it.
    pub(crate) group: usize,
    /// Why it is updated that way.
    pub(crate) reason: String,
    /// `None`: updated element by element.
    pub(crate) matrices: Option<MatrixView>,
    pub(crate) state: ParameterState<M>,
    /// The tiles of the last step, where they are wanted.
    pub(crate) diagnostics: Vec<TileDiagnostics>,
    /// The specification of its group that the probe raised it to.
    pub(crate) raised: Option<usize>,
    /// Whether its drift has been warned of.
    pub(crate) drift_named: bool,
    /// The coarse parts of the last step, one for each matrix, where they are wanted.
    pub(crate) coarse_figures: Vec<CoarseFigures>,
}

impl MatrixView {
    /// The matrices of a parameter of at least two dimensions.
    pub(crate) fn of(
        name: &str,
        shape: &[usize],
        group: &str,
        options: &MuonOptions,
    ) -> Result<Self, BuildError> {
        let sides = shape.len();
        let convolution = match options.view {
            View::Convolution => true,
            View::Stack => false,
            View::Automatic if sides == 3 => {
                return Err(BuildError::AmbiguousView {
                    name: name.to_owned(),
                    shape: shape.to_vec(),
                    stack: shape[0],
                    group: group.to_owned(),
                    others: Vec::new(),
                });
            }
            View::Automatic => true,
        };
        let transposed = options.layout == Some(Layout::InOut) && !(convolution && sides > 2);
        if transposed && options.row_normalisation.is_some() {
            return Err(BuildError::RowNormalisationLayout {
                name: name.to_owned(),
                group: group.to_owned(),
            });
        }
        let (count, rows, columns) = if convolution || sides == 2 {
            (1, shape[0], shape[1..].iter().product())
        } else {
            let leading = shape[..sides - 2].iter().product();
            (leading, shape[sides - 2], shape[sides - 1])
        };
        Ok(MatrixView {
            count,
            rows,
            columns,
            transposed,
        })
    }

    /// The specification as the stored matrix needs it: a tile is stated as outputs x inputs.
    pub(crate) fn spec<'a>(&self, spec: &'a KernelSpec) -> Cow<'a, KernelSpec> {
        match spec.tile {
            Tile::Sized { rows, columns } if self.transposed && rows != columns => {
                let mut turned = spec.clone();
                turned.tile = Tile::Sized {
                    rows: columns,
                    columns: rows,
                };
                Cow::Owned(turned)
            }
            _ => Cow::Borrowed(spec),
        }
    }

    /// The scalars as the stored matrix needs them.
    ///
    /// Only `Original` tells rows from columns: sqrt(max(1, out / in)) of a stored in x out matrix is
    /// sqrt(max(in, out)) / sqrt(in). With a power no rule is read, and the factor is the RMS of the update.
    pub(crate) fn scalars(&self, scalars: GroupScalars, power: Power) -> GroupScalars {
        let by_rule = power == Power::ZERO;
        if self.transposed && by_rule && scalars.scale == ScaleRule::Original {
            GroupScalars {
                scale: ScaleRule::MatchRmsAdamW,
                scale_factor: 1.0 / (self.rows as f32).sqrt(),
                ..scalars
            }
        } else {
            scalars
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> MuonOptions {
        MuonOptions::specs([KernelSpec::new(Tile::Sized {
            rows: 16,
            columns: 64,
        })])
    }

    fn sides(shape: &[usize], options: &MuonOptions) -> (usize, usize, usize) {
        let view = MatrixView::of("w", shape, "*", options).unwrap();
        (view.count, view.rows, view.columns)
    }

    #[test]
    fn views_read_shapes() {
        assert_eq!(sides(&[6, 4], &options()), (1, 6, 4));
        assert_eq!(sides(&[8, 3, 5, 5], &options()), (1, 8, 75));
        assert_eq!(sides(&[8, 6, 4], &options().view(View::Stack)), (8, 6, 4));
        assert_eq!(
            sides(&[2, 8, 6, 4], &options().view(View::Stack)),
            (16, 6, 4)
        );
        assert_eq!(
            sides(&[8, 6, 4], &options().view(View::Convolution)),
            (1, 8, 24)
        );
        assert!(matches!(
            MatrixView::of("w", &[8, 6, 4], "*", &options()),
            Err(BuildError::AmbiguousView { stack: 8, .. })
        ));
    }

    #[test]
    fn the_other_layout_turns_the_tile_and_the_scale() {
        let options = options().layout(Layout::InOut);
        let view = MatrixView::of("w", &[100, 40], "*", &options).unwrap();
        let expected = Tile::Sized {
            rows: 64,
            columns: 16,
        };
        assert_eq!(view.spec(&options.specs[0]).tile, expected);
        // Outputs 40, inputs 100: sqrt(max(1, 40 / 100)) = 1.
        let original = options.clone().scale(ScaleRule::Original).scalars(0.1);
        let scalars = view.scalars(original, Power::ZERO);
        assert_eq!(scalars.scale, ScaleRule::MatchRmsAdamW);
        let scale = scalars.scale_factor * 100f32.sqrt();
        assert!((scale - 1.0).abs() < 1e-6, "{scale}");
    }

    /// Whether the matrix of a group is taken as stored in x out, where the builder and the group say so or nothing.
    fn turns(builder: Option<Layout>, group: Option<Layout>) -> bool {
        let options = group.map_or_else(options, |layout| options().layout(layout));
        let declared = crate::HiMuon::builder()
            .parameter("w", &[64, 32])
            .group_with("w", options);
        let declared = match builder {
            Some(layout) => declared.layout(layout),
            None => declared,
        };
        declared.build().unwrap().parameters[0]
            .matrices
            .unwrap()
            .transposed
    }

    #[test]
    fn a_group_without_a_layout_has_the_builders() {
        use Layout::{InOut, OutIn};
        assert!(!turns(None, None));
        assert!(turns(Some(InOut), None));
        assert!(!turns(Some(InOut), Some(OutIn)));
        assert!(turns(None, Some(InOut)));
    }
}
