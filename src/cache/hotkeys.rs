//! Which keys are read most: a count-min sketch with the top keys beside it, one per worker.
//!
//! Every read is counted (two array cells); whether a key belongs among the top is looked at once in sixteen of its
//! reads. Counts are halved every ten seconds, so that the list shows what is hot now. After Cormode and
//! Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch and its Applications" (2005).

/// Small enough to stay in the first-level cache beside everything else that a hit touches.
const CELLS: usize = 1 << 11;
const ROWS: usize = 2;
/// Keys that a worker remembers by name.
const TOP: usize = 64;
/// Longer keys are listed by their beginning.
const NAME: usize = 256;

/// The sketch of one worker.
#[derive(Debug)]
pub struct Sketch {
    cells: Box<[u32]>,
    top: Vec<Hot>,
}

/// A key and how often it was read lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Hash of upstream and key.
    pub hash: u64,
    /// The key, or its first 256 bytes.
    pub key: Box<[u8]>,
    /// Estimated reads; halved every ten seconds.
    pub reads: u64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { cells: vec![0; CELLS * ROWS].into_boxed_slice(), top: Vec::with_capacity(TOP) }
    }
}

impl Sketch {
    /// Counts one read.
    #[inline]
    pub fn record(&mut self, hash: u64, key: &[u8]) {
        let first = hash as usize % CELLS;
        let second = CELLS + (hash >> 32) as usize % CELLS;
        self.cells[first] = self.cells[first].saturating_add(1);
        self.cells[second] = self.cells[second].saturating_add(1);
        let reads = self.cells[first].min(self.cells[second]);
        if reads % 16 == 1 {
            self.rank(hash, key, u64::from(reads));
        }
    }

    #[cold]
    fn rank(&mut self, hash: u64, key: &[u8], reads: u64) {
        if let Some(known) = self.top.iter_mut().find(|hot| hot.hash == hash) {
            known.reads = reads;
            return;
        }
        let hot = || Hot { hash, key: key[..key.len().min(NAME)].into(), reads };
        if self.top.len() < TOP {
            self.top.push(hot());
        } else if let Some(least) = self.top.iter_mut().min_by_key(|hot| hot.reads).filter(|least| least.reads < reads)
        {
            *least = hot();
        }
    }

    /// The hottest keys known here, in no order.
    pub fn top(&self) -> &[Hot] {
        &self.top
    }

    /// Lets the past count half.
    pub fn fade(&mut self) {
        self.cells.iter_mut().for_each(|cell| *cell /= 2);
        self.top.iter_mut().for_each(|hot| hot.reads /= 2);
        self.top.retain(|hot| hot.reads > 0);
    }
}

/// The `n` hottest keys of several workers' lists, hottest first.
pub fn merge(lists: impl IntoIterator<Item = Vec<Hot>>, n: usize) -> Vec<Hot> {
    let mut all: Vec<Hot> = Vec::new();
    for hot in lists.into_iter().flatten() {
        match all.iter_mut().find(|known| known.hash == hot.hash) {
            Some(known) => known.reads += hot.reads,
            None => all.push(hot),
        }
    }
    all.sort_by(|a, b| b.reads.cmp(&a.reads).then_with(|| a.key.cmp(&b.key)));
    all.truncate(n);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn the_most_read_keys_come_first_among_many() {
        let mut sketch = Sketch::default();
        for n in 0u64..100_000 {
            sketch.record(hash(n), &n.to_be_bytes());
            if n % 10 == 0 {
                sketch.record(hash(1 << 40), b"hottest");
            }
            if n % 20 == 0 {
                sketch.record(hash(1 << 41), b"second");
            }
        }
        let top = merge([sketch.top().to_vec()], 2);
        assert_eq!((&*top[0].key, &*top[1].key), (&b"hottest"[..], &b"second"[..]));
        assert!((9_900..10_200).contains(&top[0].reads), "{}", top[0].reads);
    }

    #[test]
    fn a_key_that_is_no_longer_read_fades_away() {
        let mut sketch = Sketch::default();
        (0..1000).for_each(|_| sketch.record(hash(1), b"k"));
        (0..12).for_each(|_| sketch.fade());
        assert!(sketch.top().is_empty());
    }
}
