//! Tests of Sluice's own code where an order decides: the accesses of several workers to the shared
//! data, and the callbacks of one worker. The tests try every order, up to a bound.
