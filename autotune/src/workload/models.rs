//! Matrices of well-known models, as their published configurations state them. Embeddings and heads are left out:
//! they go to AdamW.

/// Rows, columns, and how many there are.
type Shapes = &'static [(usize, usize, usize)];

/// Name, and the matrices of all layers.
pub const MODELS: [(&str, Shapes); 2] = [
    // 12 layers of width 768: fused query-key-value, projection, two of the MLP.
    (
        "gpt2-small",
        &[
            (768, 2304, 12),
            (768, 768, 12),
            (768, 3072, 12),
            (3072, 768, 12),
        ],
    ),
    // Llama 3.2 1B: 16 layers of width 2048, 8 key-value heads of 64, MLP of 8192: query and output, key and value,
    // gate and up, down.
    (
        "llama-1b",
        &[
            (2048, 2048, 32),
            (512, 2048, 32),
            (8192, 2048, 32),
            (2048, 8192, 16),
        ],
    ),
];

/// The matrices (rows, columns) of a model by its name.
pub fn model(name: &str) -> Option<Vec<(usize, usize)>> {
    let (_, shapes) = MODELS.iter().find(|(known, _)| *known == name)?;
    let all = shapes
        .iter()
        .flat_map(|&(rows, columns, count)| std::iter::repeat_n((rows, columns), count));
    Some(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_the_published_models() {
        let elements = |name: &str| {
            let shapes = model(name).unwrap();
            shapes
                .iter()
                .map(|(rows, columns)| rows * columns)
                .sum::<usize>()
        };
        // 85 M of GPT-2 small's 124 M and 0.97 G of Llama's 1.24 G; the rest are embeddings and norms.
        assert_eq!(elements("gpt2-small"), 12 * 12 * 768 * 768);
        assert_eq!(elements("llama-1b"), 973_078_528);
        assert!(model("gpt5").is_none());
    }
}
