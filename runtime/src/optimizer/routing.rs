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

/// Name parts that wrappers of models and layers add; they say nothing of the parameter.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];
/// Name parts of output heads, anywhere in a name; so are those that contain `logits`.
const HEADS: [&str; 5] = ["lm_head", "head", "unembed", "classifier", "score"];
/// Name parts of output heads outside of blocks, where a part of this name is a projection like any other.
const OUTER_HEADS: [&str; 3] = ["output", "out", "output_layer"];
/// Name parts of embedding tables, anywhere in a name.
const EMBEDDINGS: [&str; 8] = [
    "wte",
    "wpe",
    "emb",
    "tok_emb",
    "pos_emb",
    "embed_tokens",
    "relative_attention_bias",
    "relative_position_bias_table",
];
/// Name parts of embedding tables outside of blocks: T5's.
const OUTER_EMBEDDINGS: [&str; 1] = ["shared"];

/// Reads the role off the dotted (or slashed) parts of a name, in any case;
/// [`HiMuonBuilder::group`](super::HiMuonBuilder::group) says how.
pub(crate) fn role_of(name: &str) -> NameRole {
    let lower = name.to_lowercase();
    let parts: Vec<&str> = lower
        .split(['.', '/', ':'])
        .filter(|part| !WRAPPERS.contains(part))
        .collect();
    let has = |known: &[&str]| parts.iter().any(|part| known.contains(part));
    let outer = outer_layer(&parts).unwrap_or_default();
    if has(&HEADS)
        || parts.iter().any(|part| part.contains("logits"))
        || OUTER_HEADS.contains(&outer)
    {
        return NameRole::Head;
    }
    if has(&EMBEDDINGS) || ends_in_an_embedding(&parts) || OUTER_EMBEDDINGS.contains(&outer) {
        return NameRole::Embedding;
    }
    NameRole::Plain
}

/// Whether a part is an index or ends in one, as `0`, `layers_0` and `linear_1` do.
fn is_numbered(part: &str) -> bool {
    part.ends_with(|last: char| last.is_ascii_digit())
}

/// The layer that a tensor belongs to (`output` of `model.output.weight` and of `out.2.weight`), unless a block holds it.
fn outer_layer<'a>(parts: &[&'a str]) -> Option<&'a str> {
    let layers = match parts {
        [alone] => std::slice::from_ref(alone),
        [layers @ .., _tensor] => layers,
        [] => return None,
    };
    let layer = layers.iter().rposition(|part| !is_numbered(part))?;
    let in_a_block = layers[..layer].iter().any(|part| is_numbered(part));
    (!in_a_block).then_some(layers[layer])
}

/// Whether no number stands between a part that contains `embed` and the tensor, which would make it a layer of a network that
/// embeds. Tables in a list (`embeddings.0.weight`) have one each.
fn ends_in_an_embedding(parts: &[&str]) -> bool {
    let Some(place) = parts.iter().rposition(|part| part.contains("embed")) else {
        return false;
    };
    let between = match &parts[place + 1..] {
        [index, rest @ .., _tensor] if parts[place].ends_with('s') && is_numbered(index) => rest,
        [between @ .., _tensor] => between,
        [] => &[],
    };
    !between.iter().any(|part| is_numbered(part))
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
            ("model.output.weight", Head),
            ("out.2.weight", Head),
            ("decoder.to_logits.weight", Head),
            ("module.output_layer.weight", Head),
            ("shared.weight", Embedding),
            ("model.shared.weight", Embedding),
            (
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                Embedding,
            ),
            ("model.embed_tokens.0.weight", Embedding),
            ("pos_embed", Embedding),
            ("patch_embed.proj.weight", Embedding),
            ("output", Head),
            ("embeddings.0.weight", Embedding),
            ("cat_embeddings.3.weight", Embedding),
            ("embed.parametrizations.weight.original1", Embedding),
            ("embeddings.mlp.0.weight", Plain),
            ("time_embed.0.weight", Plain),
            ("time_embedding.linear_1.weight", Plain),
            ("t_embedder.mlp.2.weight", Plain),
            ("layers.0.shared.weight", Plain),
            ("shared.up.weight", Plain),
            ("blocks.0.attn.output.weight", Plain),
            ("layers_0/attn/out/kernel", Plain),
            ("block.0.out.1.weight", Plain),
            ("attention.output.dense.weight", Plain),
            ("encoder.layer.3.attention.output.dense.weight", Plain),
            ("blocks.0.attn.heads_proj.weight", Plain),
            ("member.weight", Plain),
        ] {
            assert_eq!(role_of(name), role, "{name}");
        }
    }

    #[test]
    fn wrappers_change_no_role() {
        for name in [
            "output.weight",
            "tok_embeddings.weight",
            "layers.0.attn.output.weight",
            "time_embed.0.weight",
            "shared.weight",
        ] {
            for wrapper in ["module", "_orig_mod", "_fsdp_wrapped_module", "model"] {
                let wrapped = format!("{wrapper}.{name}");
                assert_eq!(role_of(&wrapped), role_of(name), "{wrapped}");
            }
            let (layer, tensor) = name.rsplit_once('.').unwrap_or_default();
            let wrapped = format!("module.{layer}._orig_mod.{tensor}");
            assert_eq!(role_of(&wrapped), role_of(name), "{wrapped}");
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
