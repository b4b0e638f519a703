//! From a comparison to what people read. One model, several renderings.
