//! HiMuon as an optimizer for candle.
