//! A quadratic on which Muon and gradient descent can be compared exactly.

use crate::inputs::gaussian;
use crate::random::Random;
use crate::svd::svd;
use himuon::reference::Matrix;

/// f(W) = 1/2 tr((W - W*)^T Q (W - W*)), Q diagonal, W* standard normal (arXiv 2505.23737).
#[derive(Clone, Debug)]
pub struct Quadratic {
    target: Matrix,
    eigenvalues: Vec<f64>,
}

/// What the exact line search of one step gains.
#[derive(Clone, Copy, Debug)]
pub struct Decrease {
    /// Along the polar factor of the gradient.
    pub muon: f64,
    /// Along the gradient.
    pub descent: f64,
    /// Whether ||G||_*^2/||G||_F^2 > J/L, J = <O, H`[O]`>, L = <G, H`[G]`>/||G||_F^2.
    pub predicted_muon: bool,
}

impl Quadratic {
    /// With the eigenvalues of Q, one per row, and W* of `columns` columns.
    pub fn new(eigenvalues: Vec<f64>, columns: usize, seed: u64) -> Quadratic {
        Quadratic {
            target: gaussian(eigenvalues.len(), columns, &mut Random::new(seed)),
            eigenvalues,
        }
    }

    /// W0 = 0.
    pub fn start(&self) -> Matrix {
        Matrix::zeros(self.target.rows(), self.target.columns())
    }

    /// Q M.
    pub fn hessian(&self, matrix: &Matrix) -> Matrix {
        Matrix::from_fn(matrix.rows(), matrix.columns(), |row, column| {
            self.eigenvalues[row] * matrix.get(row, column)
        })
    }

    /// f.
    pub fn value(&self, weight: &Matrix) -> f64 {
        let error = weight.combined(1.0, -1.0, &self.target);
        0.5 * error.inner_product(&self.hessian(&error))
    }

    /// Q (W - W*).
    pub fn gradient(&self, weight: &Matrix) -> Matrix {
        self.hessian(&weight.combined(1.0, -1.0, &self.target))
    }

    /// The largest eigenvalue.
    pub fn smoothness(&self) -> f64 {
        self.eigenvalues.iter().copied().fold(0.0, f64::max)
    }

    /// W - t D with the t that is best along D.
    pub fn line_search(&self, weight: &Matrix, direction: &Matrix) -> Matrix {
        let slope = self.gradient(weight).inner_product(direction);
        let curvature = direction.inner_product(&self.hessian(direction));
        weight.combined(1.0, -slope / curvature, direction)
    }

    /// What both best steps gain, and which one the criterion predicts.
    pub fn compare(&self, weight: &Matrix) -> Decrease {
        let gradient = self.gradient(weight);
        let decomposition = svd(&gradient);
        let polar = decomposition.polar();
        let gain = |direction: &Matrix| {
            self.value(weight) - self.value(&self.line_search(weight, direction))
        };
        let nuclear: f64 = decomposition.values.iter().sum();
        let squared = gradient.norm_squared();
        let along_polar = polar.inner_product(&self.hessian(&polar));
        let along_gradient = gradient.inner_product(&self.hessian(&gradient)) / squared;
        Decrease {
            muon: gain(&polar),
            descent: gain(&gradient),
            predicted_muon: nuclear * nuclear / squared > along_polar / along_gradient,
        }
    }
}
