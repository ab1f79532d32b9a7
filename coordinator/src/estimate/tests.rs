use super::*;
use outshine_schemas::campaign::Campaign;
use std::path::Path;

const MACHINES: Machines = Machines { cores: 4, threads: 2 };

fn campaign(text: &str) -> ResolvedCampaign {
    let campaign = Campaign::parse(text, "a.toml", Path::new("."), &[]).unwrap();
    ResolvedCampaign::new(campaign, None, None)
}

const TRAINED: &str = "name = \"a\"\nestimator = \"train\"\n[field.mock]\nkind = \"prior\"\n\
    galaxies = 10\npixels_per_galaxy = 600\n[simulate]\ncount = 1001\n[train]\nmax_epochs = 21\n\
    [execution]\nsimulations_per_task = 100\nepochs_per_task = 5\nblocks_per_task = 3\n\
    galaxies_per_task = 4\n";

fn counts(campaign: &ResolvedCampaign) -> Counts {
    Counts::of_mock(campaign.campaign.field.mock.as_ref().unwrap())
}

fn of(campaign: &ResolvedCampaign, counts: &Counts) -> Estimate {
    estimate(Known { campaign, counts, inputs: &[], graph: None }, MACHINES).unwrap()
}

fn tasks(estimate: &Estimate) -> Vec<u64> {
    estimate.stages.iter().map(|stage| stage.tasks).collect()
}

#[test]
fn tasks_are_those_that_the_planner_makes() {
    let campaign = campaign(TRAINED);
    let counts = counts(&campaign);
    assert_eq!((counts.blocks, counts.galaxies, counts.at_most), (20, 10, false));
    let estimate = of(&campaign, &counts);
    assert_eq!(tasks(&estimate), [1, 11, 5, 1, 7, 3, 1]);
    for stage in Stage::ALL.into_iter().filter(|&stage| stage != Stage::Train) {
        let plan = planned(&campaign, stage, &counts).unwrap();
        let made = plan::tasks(&campaign, &plan, &[]).len() as u64;
        assert_eq!(estimate.stages[stage as usize].tasks, made, "{stage}");
    }
    // It may stop before its last epoch.
    assert!(estimate.stages[Stage::Train as usize].at_most);
    assert!(!estimate.stages[Stage::Fit as usize].at_most);
}

#[test]
fn what_is_shipped_is_not_simulated_for() {
    let text = "name = \"a\"\n[field.mock]\ngalaxies = 10\nstamp = 30\n";
    let campaign = campaign(text);
    let counts = counts(&campaign);
    let estimate = of(&campaign, &counts);
    assert_eq!(tasks(&estimate), [1, 0, 1, 1, 5, 1, 1]);
    // A galaxy need not fill its stamp.
    assert!(estimate.stages[Stage::Fit as usize].at_most);
    let simulate = &estimate.stages[Stage::Simulate as usize];
    assert_eq!((simulate.members, simulate.bytes, simulate.wall_seconds), (0, 0, 0.0));
}

#[test]
fn figures_grow_with_what_they_depend_on() {
    let base = campaign(TRAINED);
    let counts = counts(&base);
    let figures = |setting: &str| {
        let settings = [setting.to_owned()];
        let campaign = Campaign::parse(TRAINED, "a.toml", Path::new("."), &settings).unwrap();
        of(&ResolvedCampaign::new(campaign, None, None), &counts)
    };
    let plain = of(&base, &counts);
    for (setting, stage, seconds, bytes) in [
        ("fit.draws=5000", Stage::Fit, 8.0, 8.0),
        ("fit.keep=\"masses\"", Stage::Fit, 1.0, 0.4),
        ("fit.refine=\"integrated\"", Stage::Fit, 1.0, 1.0),
        ("fit.refine=\"integrated\"", Stage::Reduce, 5.5, 1.0),
        ("simulate.count=10010", Stage::Simulate, 10.0, 8.0),
        // 17.8 million weights instead of 0.45.
        ("train.hidden=2048", Stage::Train, 31.0, 36.0),
        ("calibrate.draws=5000", Stage::Calibrate, 10.0, 1.0),
    ] {
        let (more, less) = (figures(setting), &plain.stages[stage as usize]);
        let more = &more.stages[stage as usize];
        let ratio = more.core_seconds / less.core_seconds;
        assert!((0.8 * seconds..1.4 * seconds).contains(&ratio), "{setting}: {ratio}");
        let ratio = more.bytes as f64 / less.bytes as f64;
        let expected = 0.7 * bytes..2.5 * bytes;
        assert!(expected.contains(&ratio), "{setting}: {ratio} times the bytes");
    }
    // One task is not done by two cores.
    let fit = &plain.stages[Stage::Fit as usize];
    assert_eq!(fit.wall_seconds, 2.0 * fit.core_seconds / 7.0);
    let train = &plain.stages[Stage::Train as usize];
    assert_eq!(train.wall_seconds, train.core_seconds / 2.0);
}

#[test]
fn text_says_what_is_at_most_and_what_it_costs() {
    let campaign = campaign(TRAINED);
    let counts = counts(&campaign);
    let known = Known { campaign: &campaign, counts: &counts, inputs: &[2_000_000], graph: None };
    let estimate = estimate(known, MACHINES).unwrap();
    let plain = text::text(known, &estimate, MACHINES, text::Prices::default());
    assert!(plain.contains("<= 5") && plain.contains("<= 6000 pixels"), "{plain}");
    assert!(plain.contains("inputs of 2.0 MB") && !plain.contains("cost"), "{plain}");
    let prices = text::Prices { million_put: Some(1e6), ..text::Prices::default() };
    let priced = text::text(known, &estimate, MACHINES, prices);
    let requests = estimate.requests();
    let sum = format!("{:.4}", (requests.put + requests.list) as f64);
    assert_eq!(priced.matches(&sum).count(), 2, "{priced}");
}
