//! Which choices are dominated by another.

use himuon::KernelSpec;

/// A choice of the tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The specification.
    pub spec: KernelSpec,
    /// Seconds of one step over all matrices.
    pub seconds: f64,
    /// Bytes of scratch memory; `None` where times are another device's, whose model does not tell.
    pub workspace_bytes: Option<u64>,
    /// Cosine between the tiled update and that of whole matrices.
    pub closeness: f64,
    /// No other choice is better in one of the three and as good in the others.
    pub on_front: bool,
}

/// Marks the points of the front.
pub fn front(points: &mut [Point]) {
    let dominates = |a: &Point, b: &Point| {
        let as_good = a.seconds <= b.seconds
            && a.workspace_bytes <= b.workspace_bytes
            && a.closeness >= b.closeness;
        let better = a.seconds < b.seconds
            || a.workspace_bytes < b.workspace_bytes
            || a.closeness > b.closeness;
        as_good && better
    };
    for index in 0..points.len() {
        let point = points[index].clone();
        points[index].on_front = !points.iter().any(|other| dominates(other, &point));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use himuon::Tile;

    #[test]
    fn dominated_choices_are_off_the_front() {
        let point = |edge, seconds, workspace_bytes, closeness| Point {
            spec: KernelSpec::new(Tile::square(edge)),
            seconds,
            workspace_bytes: Some(workspace_bytes),
            closeness,
            on_front: false,
        };
        let mut points = [
            point(16, 1.0, 10, 0.5),
            point(32, 2.0, 20, 0.6),
            // Slower and farther than 32, no smaller.
            point(48, 3.0, 20, 0.55),
            point(64, 4.0, 40, 1.0),
            // The same as another: both stay.
            point(65, 4.0, 40, 1.0),
        ];
        front(&mut points);
        let marks: Vec<bool> = points.iter().map(|point| point.on_front).collect();
        assert_eq!(marks, [true, true, false, true, true]);
    }
}
