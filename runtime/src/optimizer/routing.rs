//! Which method a parameter gets, by its dimensions and its name, and why.

/// What a name says about a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRole {
    /// A table of rows that are looked up.
    Embedding,
    /// The layer that produces logits.
    Head,
    /// Nothing special.
    Plain,
}

/// Name parts of embedding tables.
const EMBEDDINGS: [&str; 5] = ["wte", "wpe", "emb", "tok_emb", "pos_emb"];
/// Name parts of output heads, anywhere in a name.
const HEADS: [&str; 5] = ["lm_head", "head", "unembed", "classifier", "score"];
/// Name parts of output heads, only at the start of a name (`output.weight`): inside a block they are projections.
const FIRST_PART_HEADS: [&str; 2] = ["output", "out"];

/// Reads the role off the dotted (or slashed) parts of a name, in any case.
pub(crate) fn role_of(name: &str) -> NameRole {
    let lower = name.to_lowercase();
    let mut parts = lower.split(['.', '/', ':']);
    let first = parts.clone().next().unwrap_or_default();
    if parts.clone().any(|part| HEADS.contains(&part)) || FIRST_PART_HEADS.contains(&first) {
        return NameRole::Head;
    }
    if parts.any(|part| part.contains("embed") || EMBEDDINGS.contains(&part)) {
        return NameRole::Embedding;
    }
    NameRole::Plain
}

/// Why a parameter that a group of tiles matches goes to AdamW all the same.
pub(crate) fn exclusion(name: &str, shape: &[usize], by_name: bool) -> Option<String> {
    let sides = shape.iter().filter(|&&side| side > 1).count();
    match shape.len() {
        0 => return Some("a scalar: no matrix to orthogonalise".to_owned()),
        1 => return Some("one dimension (norm or bias): no matrix to orthogonalise".to_owned()),
        _ if sides < 2 && by_name => {
            return Some("one side longer than 1: a vector, no matrix to orthogonalise".to_owned());
        }
        _ => {}
    }
    match role_of(name) {
        NameRole::Embedding if by_name => {
            Some("an embedding by its name: its rows are looked up one by one".to_owned())
        }
        NameRole::Head if by_name => Some("an output head by its name".to_owned()),
        _ => None,
    }
}

/// Whether a pattern can match more than one name.
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_common_models_are_read() {
        use NameRole::{Embedding, Head, Plain};
        for (name, role) in [
            ("transformer.wte.weight", Embedding),
            ("model.embed_tokens.weight", Embedding),
            ("tok_embeddings.weight", Embedding),
            ("lm_head.weight", Head),
            ("output.weight", Head),
            ("blocks.0.attn.output.weight", Plain),
            ("encoder.layer.3.attention.output.dense.weight", Plain),
            ("blocks.0.attn.heads_proj.weight", Plain),
            ("member.weight", Plain),
        ] {
            assert_eq!(role_of(name), role, "{name}");
        }
    }

    #[test]
    fn vectors_are_excluded_whatever_the_pattern() {
        assert!(exclusion("blocks.0.norm.weight", &[64], false).is_some());
        assert!(exclusion("blocks.0.gain", &[1, 64], true).is_some());
        assert!(exclusion("blocks.0.gain", &[1, 64], false).is_none());
        assert!(exclusion("blocks.0.attn.q", &[64, 64], true).is_none());
    }
}
