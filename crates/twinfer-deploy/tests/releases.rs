//! Releases from their beginning to their end.

#![allow(clippy::unwrap_used, clippy::panic)]

use twinfer::{ErrorCode, Result};
use twinfer_deploy::{
    Action, By, Decision, Deployment, DeploymentSpec, Observed, Phase, Record, Role, Variant,
    decide,
};
use twinfer_package::Digest;

const CANARY: &str = r#"{
    "name": "face", "variants": [{"version": "1.0.0"}, {"name": "canary", "version": "1.1.0"}],
    "strategy": {"kind": "canary",
        "steps": [{"weight": 500, "hold": 60}, {"weight": 5000, "hold": 60}],
        "guardrails": [
            {"metric": "error_rate", "max": 0.1, "min_requests": 10},
            {"metric": "latency", "quantile": 0.9, "max": 2, "compared": "primary", "min_requests": 10},
            {"metric": "drift", "max": 0.2, "min_requests": 1}]}}"#;

fn spec(json: &str) -> Result<Deployment> {
    let digest = |version: &str| Ok(Digest::of(version.as_bytes()));
    DeploymentSpec::from_json(json.as_bytes())?.resolve(1, 1_000, digest)
}

fn by(at: u64) -> By<'static> {
    By {
        author: "ada",
        at,
        reason: "because",
    }
}

fn alone() -> Record {
    Record::first(
        &spec(r#"{"name": "face", "variants": [{"version": "1.0.0"}]}"#).unwrap(),
        by(1_000),
    )
    .unwrap()
}

fn requests(count: u64, errors: u64, milliseconds: f64) -> Observed {
    let mut observed = Observed::default();
    for at in 0..count {
        observed.add(milliseconds, at < errors);
    }
    observed
}

fn weights(record: &Record) -> Vec<(String, u16)> {
    let deployment = record.deployment().unwrap();
    let variants = deployment.variants.into_iter();
    variants.map(|v| (v.version, v.weight)).collect()
}

#[test]
fn a_canary_promotes_itself_and_goes_back_byte_for_byte() {
    let first = alone();
    let before = first.document().to_owned();
    let mut record = first.apply(&spec(CANARY).unwrap(), by(10_000)).unwrap();
    // The clock of a step is that of the release.
    let start = record.deployment().unwrap().status.since;
    assert_eq!(
        weights(&record),
        [("1.0.0".into(), 9_500), ("1.1.0".into(), 500)]
    );
    let fine = |_: &Variant, _: u32| requests(20, 0, 10.0);
    let few = |_: &Variant, _: u32| requests(9, 9, 10.0);
    let at = |record: &Record, seconds: u64, see: &dyn Fn(&Variant, u32) -> Observed| {
        let see = |variant: &Variant, window: u32| see(variant, window);
        decide(&record.deployment().unwrap(), start + seconds * 1_000, &see)
    };
    assert!(matches!(at(&record, 59, &fine), Decision::Hold(_)));
    let Decision::Hold(why) = at(&record, 60, &few) else {
        panic!("with so few requests nothing is known")
    };
    assert!(why.contains("needs 10 requests"), "{why}");
    let decision = at(&record, 60, &fine);
    assert!(matches!(decision, Decision::Advance(_)), "{decision:?}");
    record = record
        .carry_out(&decision, "controller", start + 60_000)
        .unwrap()
        .unwrap();
    assert_eq!(
        weights(&record),
        [("1.0.0".into(), 5_000), ("1.1.0".into(), 5_000)]
    );
    assert!(matches!(at(&record, 119, &fine), Decision::Hold(_)));
    let decision = at(&record, 120, &fine);
    assert!(matches!(decision, Decision::Promote(_)), "{decision:?}");
    record = record
        .carry_out(&decision, "controller", start + 120_000)
        .unwrap()
        .unwrap();
    assert_eq!(weights(&record), [("1.1.0".into(), 10_000)]);
    let status = record.deployment().unwrap().status;
    assert_eq!(status.phase, Phase::Promoted);
    let actions: Vec<_> = record.events().iter().map(|event| event.action).collect();
    assert_eq!(
        actions,
        [
            Action::Apply,
            Action::Apply,
            Action::Advance,
            Action::Promote
        ]
    );

    let stored = Record::from_json(&record.to_json().unwrap()).unwrap();
    let back = stored.rollback(by(200_000)).unwrap();
    assert_eq!(back.document(), before);
    assert_eq!(
        (back.revision(), back.deployment().unwrap().revision),
        (5, 1)
    );
    // The next document has a number that none had.
    let next = back.apply(&spec(CANARY).unwrap(), by(201_000)).unwrap();
    assert_eq!(next.deployment().unwrap().revision, 6);
}

#[test]
fn a_document_that_was_written_by_hand_comes_back_as_it_was() {
    let mut document = alone().document().to_owned();
    document = document.replace("\"name\"", "\n \"name\"");
    let record = String::from_utf8(alone().to_json().unwrap()).unwrap();
    let record = record.replace(alone().document(), &document);
    let record = Record::from_json(record.as_bytes()).unwrap();
    let released = record.apply(&spec(CANARY).unwrap(), by(2)).unwrap();
    let released = Record::from_json(&released.to_json().unwrap()).unwrap();
    assert_eq!(released.rollback(by(3)).unwrap().document(), document);
}

#[test]
fn broken_guardrails_roll_back_also_where_it_is_paused() {
    let record = alone().apply(&spec(CANARY).unwrap(), by(1_000)).unwrap();
    let paused = record.pause(by(2_000)).unwrap();
    assert!(paused.pause(by(2_000)).is_err());
    let errors = |variant: &Variant, _: u32| match variant.role {
        Role::Primary => requests(20, 0, 10.0),
        _ => requests(20, 3, 10.0),
    };
    let slow = |variant: &Variant, _: u32| match variant.role {
        Role::Primary => requests(20, 0, 10.0),
        _ => requests(20, 0, 100.0),
    };
    let drifted = |_: &Variant, _: u32| Observed {
        drift: Some(0.3),
        ..requests(20, 0, 10.0)
    };
    let all: [(&str, &dyn twinfer_deploy::Observe); 3] = [
        ("error rate of `canary` (1.1.0) is 0.15, over 0.1", &errors),
        ("latency (ms) of `canary`", &slow),
        ("drift of `canary` (1.1.0) is 0.3, over 0.2", &drifted),
    ];
    for record in [&record, &paused] {
        for (words, see) in all {
            let decision = decide(&record.deployment().unwrap(), 3_000, see);
            let Decision::Rollback(why) = &decision else {
                panic!("{words}: {decision:?}")
            };
            assert!(why.contains(words), "{why}");
            let next = record.carry_out(&decision, "controller", 3_000).unwrap();
            assert_eq!(next.unwrap().document(), alone().document());
        }
    }
    // A paused release goes no further, and a resumed one begins its step anew.
    let fine = |_: &Variant, _: u32| requests(20, 0, 10.0);
    let later = decide(&paused.deployment().unwrap(), 900_000, &fine);
    assert_eq!(later, Decision::Hold("the release is paused".into()));
    let resumed = paused.resume(by(900_000)).unwrap();
    let decision = decide(&resumed.deployment().unwrap(), 901_000, &fine);
    assert!(matches!(decision, Decision::Hold(_)), "{decision:?}");
}

#[test]
fn what_was_before_a_step_is_not_looked_at() {
    let record = alone().apply(&spec(CANARY).unwrap(), by(1_000)).unwrap();
    let window = std::cell::Cell::new(0);
    let see = |_: &Variant, seconds: u32| {
        window.set(seconds);
        requests(20, 0, 10.0)
    };
    for (now, expected) in [(1_000, 1), (8_000, 7), (500_000, 60)] {
        decide(&record.deployment().unwrap(), now, &see);
        assert_eq!(window.get(), expected);
    }
}

#[test]
fn a_release_that_is_not_finished_is_none_to_go_back_to() {
    let first = alone();
    let second = first.apply(&spec(CANARY).unwrap(), by(2_000)).unwrap();
    let third = second.apply(&spec(CANARY).unwrap(), by(3_000)).unwrap();
    assert_eq!(third.former(), Some(first.document()));
    let back = third.rollback(by(4_000)).unwrap();
    assert_eq!(back.document(), first.document());
    let error = back.rollback(by(5_000)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeploymentConflict);

    // The very first release has nothing to go back to but its primary.
    let first = Record::first(&spec(CANARY).unwrap(), by(1_000)).unwrap();
    let back = first.rollback(by(2_000)).unwrap();
    assert_eq!(weights(&back), [("1.0.0".into(), 10_000)]);
    let phase = back.deployment().unwrap().status.phase;
    assert_eq!(phase, Phase::RolledBack);
}

#[test]
fn the_past_is_bounded() {
    let mut record = alone();
    let release = spec(r#"{"name": "face", "variants": [{"version": "2.0.0"}]}"#).unwrap();
    for at in 0..300 {
        record = record.apply(&release, by(at)).unwrap();
    }
    assert_eq!((record.revision(), record.events().len()), (301, 100));
    let mut back = 0;
    while let Ok(former) = record.rollback(by(0)) {
        record = former;
        back += 1;
    }
    assert_eq!(back, 20);
}

#[test]
fn blue_green_switches_at_once_and_keeps_the_other_ready() {
    let release = r#"{"name": "face", "strategy": {"kind": "blue_green"},
        "variants": [{"name": "blue", "version": "1.0.0"}, {"name": "green", "version": "2.0.0"}]}"#;
    let record = alone().apply(&spec(release).unwrap(), by(2)).unwrap();
    assert_eq!(
        weights(&record),
        [("1.0.0".into(), 10_000), ("2.0.0".into(), 0)]
    );
    let green = record.promote(None, by(3)).unwrap();
    assert_eq!(
        weights(&green),
        [("2.0.0".into(), 10_000), ("1.0.0".into(), 0)]
    );
    assert!(green.promote(Some("green"), by(4)).is_err());
    let blue = green.promote(Some("blue"), by(4)).unwrap();
    assert_eq!(
        weights(&blue),
        [("1.0.0".into(), 10_000), ("2.0.0".into(), 0)]
    );
    assert_eq!(blue.rollback(by(5)).unwrap().document(), green.document());
}

#[test]
fn an_ab_test_stays_until_one_is_promoted() {
    let release = r#"{"name": "face", "strategy": {"kind": "ab_test"}, "sticky": {"salt": "spring"}, "variants": [
        {"name": "a", "version": "1.0.0", "weight": 5000}, {"name": "b", "version": "2.0.0", "weight": 3000},
        {"name": "c", "version": "3.0.0", "weight": 2000}]}"#;
    let record = alone().apply(&spec(release).unwrap(), by(2)).unwrap();
    let none = |_: &Variant, _: u32| Observed::default();
    let decision = decide(&record.deployment().unwrap(), u64::MAX, &none);
    assert!(matches!(decision, Decision::Hold(_)), "{decision:?}");
    for unclear in [None, Some("d")] {
        let error = record.promote(unclear, by(3)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeploymentConflict);
    }
    for (winner, version) in [("a", "1.0.0"), ("c", "3.0.0")] {
        let next = record.promote(Some(winner), by(3)).unwrap();
        assert_eq!(weights(&next), [(version.into(), 10_000)]);
    }
}

#[test]
fn somebody_else_was_faster() {
    let record = alone();
    record.expect(1).unwrap();
    let error = record.expect(2).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RevisionMismatch);
}

#[test]
fn what_is_wrong_is_said() {
    let document = alone().document().to_owned();
    let canary = Record::first(&spec(CANARY).unwrap(), by(0)).unwrap();
    let canary = canary.document();
    use ErrorCode as C;
    for (from, to, code) in [
        (
            "\"format_version\":1",
            "\"format_version\":2",
            C::UnsupportedFormatVersion,
        ),
        (
            "\"format_version\":1",
            "\"format_version\":1,\"more\":1",
            C::UnknownField,
        ),
        (
            "\"kind\":\"all_at_once\"",
            "\"kind\":\"all_at_once\",\"more\":1",
            C::UnknownField,
        ),
        (
            "\"name\":\"face\"",
            "\"name\":\"Face\"",
            C::InvalidReference,
        ),
        (
            "\"version\":\"1.0.0\"",
            "\"version\":\"-\"",
            C::InvalidReference,
        ),
        (
            "\"digest\":\"sha256:",
            "\"digest\":\"sha512:",
            C::InvalidDigest,
        ),
        ("\"weight\":10000", "\"weight\":9999", C::InvalidDeployment),
        ("\"weight\":10000", "\"weight\":-1", C::InvalidDeployment),
        (
            "\"role\":\"primary\"",
            "\"role\":\"candidate\"",
            C::InvalidDeployment,
        ),
        ("X-Twinfer-Key", "X Key", C::InvalidDeployment),
        (
            "\"salt\":\"face\"",
            "\"salt\":\"a\\u0000\"",
            C::InvalidDeployment,
        ),
        (
            "\"phase\":\"promoted\"",
            "\"phase\":\"lost\"",
            C::InvalidDeployment,
        ),
    ] {
        let broken = document.replacen(from, to, 1);
        assert_ne!(broken, document, "{from}");
        let error = Deployment::from_json(broken.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
    }
    for (from, to) in [
        ("\"step\":0", "\"step\":2"),
        ("\"step\":0", "\"step\":1"),
        ("\"weight\":5000,", "\"weight\":499,"),
        ("\"max\":0.1", "\"max\":-0.1"),
        ("\"quantile\":0.9", "\"quantile\":1.0"),
        ("\"quantile\":0.9,", ""),
        ("\"min_requests\":10", "\"min_requests\":0"),
        ("\"window\":60", "\"window\":0"),
    ] {
        let broken = canary.replacen(from, to, 1);
        assert_ne!(broken, canary, "{from}");
        let error = Deployment::from_json(broken.as_bytes()).unwrap_err();
        assert_eq!(error.code(), C::InvalidDeployment, "{to}: {error}");
    }
    let long = vec![b' '; 1 << 20];
    let error = Deployment::from_json(&long).unwrap_err();
    assert_eq!(error.code(), C::InvalidDeployment);
}
