//! A failed check on its way out of a warp, before the place is filled in.

use crate::fault::FaultKind;

/// What a check found, with the lane and address if they are known.
#[derive(Debug)]
pub(super) struct Trouble {
    pub kind: FaultKind,
    pub lane: Option<u32>,
    pub address: Option<u64>,
}

/// Result of a step. Boxed: troubles are rare and large.
pub(super) type Step<T> = Result<T, Box<Trouble>>;

impl Trouble {
    pub(super) fn new(kind: FaultKind) -> Box<Self> {
        Box::new(Self {
            kind,
            lane: None,
            address: None,
        })
    }

    pub(super) fn at(kind: FaultKind, lane: u32, address: u64) -> Box<Self> {
        Box::new(Self {
            kind,
            lane: Some(lane),
            address: Some(address),
        })
    }

    /// Whether lanes are missing that may still come.
    pub(super) fn is_divergence(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::DivergentBarrier { .. } | FaultKind::DivergentCollective { .. }
        )
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Box<Self> {
        Self::new(FaultKind::InvalidUse {
            detail: detail.into(),
        })
    }
}

/// The lanes of a mask, lowest first.
pub(super) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
        rest &= rest - 1;
        Some(lane)
    })
}
