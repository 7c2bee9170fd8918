//! The command line, and which cases it asks for.

use anyhow::Context;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::case::{Case, How, Phase, Place, Strike};
use crate::strikes::Sizes;

pub(crate) const HELP: &str = "the options are kills, commits, worlds, --sample, --seed N, --every N, --worlds N, --jobs N and --case CASE";

const WORLDS: u64 = 150;
const JOBS: usize = 8;
/// How many of each kind a sample has.
const SAMPLE_KILLS: usize = 9;
const SAMPLE_COMMITS: usize = 6;
const SAMPLE_WORLDS: u64 = 4;

pub(crate) const PHASES: [Phase; 3] = [Phase::First, Phase::Changes, Phase::Both];

pub(crate) struct Options {
    kills: bool,
    commits: bool,
    worlds: u64,
    sample: bool,
    seed: u64,
    /// Only every n-th case of the sweeps. The seed says where they begin.
    every: u64,
    /// How many cases run side by side.
    pub jobs: usize,
    cases: Vec<Case>,
}

impl Options {
    /// Reads the words of the command line. Without one, everything is asked for.
    pub(crate) fn read(words: &[&str]) -> anyhow::Result<Options> {
        let mut options = Options {
            kills: false,
            commits: false,
            worlds: 0,
            sample: false,
            seed: 1,
            every: 1,
            jobs: JOBS,
            cases: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().with_context(|| format!("{word} needs a value; {HELP}"));
            match *word {
                "kills" => options.kills = true,
                "commits" => options.commits = true,
                "worlds" => options.worlds = WORLDS,
                "--sample" => options.sample = true,
                "--seed" => options.seed = value()?.parse().context("--seed needs a number")?,
                "--every" => options.every = value()?.parse().context("--every needs a number")?,
                "--worlds" => {
                    options.worlds = value()?.parse().context("--worlds needs a number")?
                }
                "--jobs" => options.jobs = value()?.parse().context("--jobs needs a number")?,
                "--case" => options.cases.push(value()?.parse()?),
                _ => anyhow::bail!("{HELP}"),
            }
        }
        let asks = options.kills || options.commits || options.worlds > 0 || options.sample;
        if !asks && options.cases.is_empty() {
            (options.kills, options.commits, options.worlds) = (true, true, WORLDS);
        }
        options.jobs = options.jobs.max(1);
        Ok(options)
    }

    /// Whether the size of each run must be known.
    pub(crate) fn needs_sizes(&self) -> bool {
        self.kills || self.commits || self.sample
    }

    /// The cases that are asked for. `sizes`: the size of each run, in the order of [`PHASES`].
    pub(crate) fn cases(&self, sizes: &[Sizes]) -> Vec<Case> {
        let mut cases = self.cases.clone();
        if self.sample {
            cases.extend(self.sampled(sizes));
        }
        let every = self.every.max(1);
        let swept = (0..).zip(self.swept(sizes));
        let chosen = swept.filter(|(at, _)| (at + self.seed).is_multiple_of(every));
        cases.extend(chosen.map(|(_, case)| case));
        cases.extend((0..self.worlds).map(|at| Case::World(self.seed.wrapping_add(at))));
        cases
    }

    /// Every call and every commit, in every way.
    fn swept(&self, sizes: &[Sizes]) -> Vec<Case> {
        let wanted = |place| if place == Place::Commit { self.commits } else { self.kills };
        let mut cases = Vec::new();
        for (phase, sizes) in PHASES.into_iter().zip(sizes) {
            let places = [Place::Keap, Place::Intercom, Place::Commit].into_iter();
            for place in places.filter(|place| wanted(*place)) {
                for nth in 1..=sizes.of(place) {
                    let strike = |how| Strike { phase, place, nth, how, seed: self.seed };
                    cases.extend(How::ALL.map(|how| Case::Strike(strike(how))));
                }
            }
        }
        cases
    }

    fn sampled(&self, sizes: &[Sizes]) -> Vec<Case> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut cases = Vec::new();
        for at in 0..SAMPLE_KILLS + SAMPLE_COMMITS {
            let place = match at {
                at if at >= SAMPLE_KILLS => Place::Commit,
                at if at % 4 == 0 => Place::Keap,
                _ => Place::Intercom,
            };
            let number = at % PHASES.len();
            let phase = PHASES[number];
            let most = sizes.get(number).map_or(1, |sizes| sizes.of(place)).max(1);
            let how = How::ALL.choose(&mut rng).copied().unwrap_or(How::ALL[0]);
            let nth = rng.random_range(1..=most);
            cases.push(Case::Strike(Strike { phase, place, nth, how, seed: rng.random() }));
        }
        cases.extend((0..SAMPLE_WORLDS).map(|_| Case::World(rng.random())));
        cases
    }
}
