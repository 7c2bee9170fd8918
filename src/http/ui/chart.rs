//! Small charts as inline SVG: bars of equal width, without script and without text inside. The
//! words stand around them, and a table has the same figures.

/// The width of a bar's place, and of the bar, in units of the picture.
const STEP: i64 = 10;
const BAR: i64 = 8;
/// The height of a chart.
const HEIGHT: i64 = 60;

/// One chart with its title.
pub(super) struct Chart {
    /// Unique on the page.
    pub id: String,
    pub title: &'static str,
    /// The figures in a sentence.
    pub desc: String,
    /// What else is to be known.
    pub note: Option<String>,
    pub width: i64,
    pub bars: Vec<Bar>,
}

/// A bar with its figure in words. A second, paler bar may stand behind it.
pub(super) struct Bar {
    pub label: String,
    pub x: i64,
    pub front: Extent,
    pub behind: Option<Extent>,
}

/// From where to where a bar reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub y: i64,
    pub height: i64,
}

impl Chart {
    /// Bars for these figures: the words of each, how high it is and, where there is one, how high
    /// the bar behind it is, as shares of the largest.
    pub(super) fn bars(figures: Vec<(String, i64, Option<i64>)>) -> (i64, Vec<Bar>) {
        let highest =
            |(_, front, behind): &(String, i64, Option<i64>)| (*front).max(behind.unwrap_or(0));
        let most = figures.iter().map(highest).max().unwrap_or(0);
        let width = STEP * i64::try_from(figures.len()).unwrap_or(1);
        let bars = figures.into_iter().zip(0..).map(|((label, front, behind), at)| Bar {
            label,
            x: at * STEP + (STEP - BAR) / 2,
            front: extent(front, most),
            behind: behind.map(|behind| extent(behind, most)),
        });
        (width, bars.collect())
    }
}

/// What is not nothing can be seen.
fn extent(value: i64, most: i64) -> Extent {
    let height = match (value, most) {
        (..=0, _) | (_, ..=0) => 0,
        (value, most) => {
            let share = i128::from(value) * i128::from(HEIGHT) / i128::from(most);
            i64::try_from(share).unwrap_or(HEIGHT).clamp(1, HEIGHT)
        }
    };
    Extent { y: HEIGHT - height, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_inside_the_chart_and_the_smallest_can_be_seen() {
        let figures = [0, 1, 500, i64::MAX].map(|n| (n.to_string(), n, None));
        let (width, bars) = Chart::bars(figures.into());
        assert_eq!(width, 40);
        let heights: Vec<_> = bars.iter().map(|bar| bar.front.height).collect();
        assert_eq!(heights, [0, 1, 1, 60]);
        assert!(bars.iter().all(|bar| bar.front.y + bar.front.height == HEIGHT));
        let (_, nothing) = Chart::bars(vec![(String::new(), 0, Some(0))]);
        assert_eq!(nothing[0].behind, Some(Extent { y: 60, height: 0 }));
    }
}
