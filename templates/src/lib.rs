//! What a HiMuon kernel is: specification, coefficients, variants and template text.
