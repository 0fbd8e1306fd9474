//! Who wakes the driver.
