//! Waiting for a condition with a deadline. Nothing in the tests sleeps "until it is probably done": a probe is repeated
//! until it succeeds, and when the deadline passes the panic says what was awaited and what the last probe found. The
//! grid under test adds its logs to that panic when it is dropped.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long to wait between two probes. Short beside every deadline here, long beside the cost of a probe.
const PAUSE: Duration = Duration::from_millis(50);

/// Repeats `probe` until it gives `Ok`, at most until `limit` has passed.
///
/// # Panics
/// When the limit passes first, with the last probe's error. A probe that hangs is cut off by the limit too.
pub async fn eventually<T, P, F>(what: &str, limit: Duration, mut probe: P) -> T
where
    P: FnMut() -> F,
    F: Future<Output = anyhow::Result<T>>,
{
    let start = Instant::now();
    let mut last = String::from("the first probe did not end");
    while let Some(left) = limit.checked_sub(start.elapsed()) {
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("waited {:.1} s for: {what}; last: {last}", start.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_is_repeated_until_it_succeeds() {
        let mut probes = 0;
        let got = eventually("three probes", Duration::from_secs(5), || {
            probes += 1;
            let probes = probes;
            async move { if probes < 3 { anyhow::bail!("not yet") } else { Ok(probes) } }
        })
        .await;
        assert_eq!(got, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "for: the impossible; last: still not")]
    async fn a_missed_deadline_says_what_was_awaited_and_found() {
        eventually("the impossible", Duration::from_millis(120), || async {
            anyhow::bail!("still not") as anyhow::Result<()>
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "for: a hanging probe")]
    async fn a_hanging_probe_is_cut_off() {
        eventually("a hanging probe", Duration::from_millis(120), std::future::pending::<anyhow::Result<()>>).await;
    }
}
