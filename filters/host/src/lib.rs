//! Everything that Sluice asks of Envoy, behind traits that a fake can stand in for.
