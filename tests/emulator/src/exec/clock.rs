//! Vector clocks: what each warp knows to have happened in the others.

/// What a warp, a barrier or an mbarrier knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Knowledge {
    /// For each warp the latest interval known to be over.
    warps: Vec<u32>,
    /// The same for intervals that a proxy fence made visible to the asynchronous proxy.
    fenced: Vec<u32>,
    /// Asynchronous copies whose completion was observed.
    copies: Vec<u32>,
}

impl Knowledge {
    pub(super) fn new(warps: usize) -> Self {
        Self {
            warps: vec![0; warps],
            fenced: vec![0; warps],
            copies: Vec::new(),
        }
    }

    /// The latest interval of a warp that is known to be over.
    #[inline(always)]
    pub(super) fn of(&self, warp: usize) -> u32 {
        self.warps[warp]
    }

    pub(super) fn all(&self) -> &[u32] {
        &self.warps
    }

    /// What every warp but this one is known to have done up to.
    #[inline(always)]
    pub(super) fn floor(&self, warp: usize) -> u32 {
        let others = self.warps.iter().enumerate();
        others.fold(u32::MAX, |floor, (other, known)| {
            if other == warp {
                floor
            } else {
                floor.min(*known)
            }
        })
    }

    pub(super) fn fenced(&self, warp: usize) -> u32 {
        self.fenced[warp]
    }

    pub(super) fn knows_copy(&self, copy: u32) -> bool {
        self.copies.binary_search(&copy).is_ok()
    }

    /// Records that a warp's interval is over.
    pub(super) fn advance(&mut self, warp: usize, interval: u32) {
        self.warps[warp] = self.warps[warp].max(interval);
    }

    pub(super) fn learn_copy(&mut self, copy: u32) {
        if let Err(place) = self.copies.binary_search(&copy) {
            self.copies.insert(place, copy);
        }
    }

    /// Takes over what another knows.
    pub(super) fn join(&mut self, other: &Self) {
        let newest = |mine: &mut u32, theirs: &u32| *mine = (*mine).max(*theirs);
        self.warps
            .iter_mut()
            .zip(&other.warps)
            .for_each(|(mine, theirs)| newest(mine, theirs));
        self.fenced
            .iter_mut()
            .zip(&other.fenced)
            .for_each(|(mine, theirs)| newest(mine, theirs));
        other.copies.iter().for_each(|copy| self.learn_copy(*copy));
    }

    /// Makes everything known visible to the asynchronous proxy.
    pub(super) fn fence_proxy(&mut self) {
        self.fenced
            .iter_mut()
            .zip(&self.warps)
            .for_each(|(fenced, known)| *fenced = (*fenced).max(*known));
    }
}
