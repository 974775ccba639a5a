//! placeholder
mod model;
mod ops;
mod random;
use candle_nn::Optimizer;
fn main() -> candle_core::Result<()> {
    let vars = candle_nn::VarMap::new();
    let a: Vec<usize> = std::env::args().skip(1).map(|s| s.parse().unwrap()).collect();
    let (layers, batch, context) = (a[0], a[1], a[2]);
    let m = model::Gpt::new(model::GptConfig { layers, width: 384, heads: 6, context }, 0, &vars)?;
    let mut opt = candle_nn::AdamW::new_lr(vars.all_vars(), 1e-3)?;
    let text = std::fs::read("/root/.cargo/registry/src/".to_owned() + &std::env::var("F").unwrap()).unwrap();
    let mut at = 0;
    for step in 0..20 {
        let n = batch * context;
        if at + n + 1 > text.len() { at = 0; }
        let x: std::sync::Arc<[u8]> = text[at..at + n].into();
        let y: std::sync::Arc<[u8]> = text[at + 1..at + n + 1].into();
        at += n;
        let t = std::time::Instant::now();
        let l = m.loss(&x, &y)?;
        let tf = t.elapsed();
        let g = l.backward()?;
        let tb = t.elapsed() - tf;
        opt.step(&g)?;
        println!("{step} {:.3} fwd {tf:.1?} bwd {tb:.1?} opt {:.1?}", l.to_scalar::<f32>()?, t.elapsed() - tf - tb);
    }
    Ok(())
}
