//! Conformance suite of HiMuon.
