//! Gives free memory back to the system: a busy hour must not stay resident for the idle ones.

/// Returns the free pages of the heap to the system. The C library keeps them otherwise.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the standard library has no name for this call")]
pub fn give_back() {
    // SAFETY: the call takes no pointer and changes no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries return free pages by themselves, or have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
