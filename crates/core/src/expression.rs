//! Bounds for expressions that somebody else wrote: conditions of stages, `require` of gates.

/// Longest expression, and deepest nesting of brackets in it.
const LONGEST: usize = 4_000;
const DEEPEST: usize = 64;
/// The parser of CEL recurses; this is enough for the longest expression.
const STACK: usize = 128 << 20;

/// Evaluates an expression where it can neither overflow our stack nor panic in our thread.
///
/// # Errors
/// It is too long or nested too deeply, it broke `work` off, or what `work` says.
pub fn guarded<T: Send>(expression: &str, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    if expression.len() > LONGEST || depth(expression) > DEEPEST {
        return Err(format!("an expression has at most {LONGEST} bytes, nested {DEEPEST} brackets deep"));
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("'{expression}' broke the evaluation off")),
            Err(error) => Err(format!("no thread to evaluate '{expression}': {error}")),
        }
    })
}

fn depth(expression: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in expression.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
