//! `init`: asks, tests each answer, and writes what the other commands then use.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Ended, Process};
use crate::world::World;

/// Runs `init` with answers from a pipe, without any secret in its environment.
async fn init(world: &World, folder: &str, answers: &[&str]) -> Ended {
    let script = format!(
        "unset DATABASE_URL KEAP_API_KEY INTERCOM_ACCESS_TOKEN; printf '%s\\n' {} | \"$0\" init --dir '{folder}'",
        answers.iter().map(|answer| format!("\"{answer}\"")).collect::<Vec<_>>().join(" ")
    );
    let mut world_env = quiet_world(world.pool.clone(), 0).await;
    world_env.env = world.env.clone();
    for (name, from) in
        [("URL", "DATABASE_URL"), ("KEAP", "KEAP_API_KEY"), ("TOKEN", "INTERCOM_ACCESS_TOKEN")]
    {
        let value = world.env[from].clone();
        world_env.set(name, value);
    }
    Process::by_shell(&world_env, &script, Stdio::null()).ended().await
}

#[sqlx::test(migrations = false)]
async fn init_tests_each_answer_and_writes_what_check_needs(pool: PgPool) {
    let world = quiet_world(pool, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync");
    let path = path.to_str().unwrap();

    // A wrong answer is asked for again, and is not repeated.
    let answers = ["$URL", "canary-wrong-key-0123456789", "$KEAP", "$TOKEN"];
    let ended = init(&world, path, &answers).await.expect(0);
    for words in [
        "✓ Postgres answers, and its tables are made",
        "✗ Keap refuses",
        "✓ Keap accepts it; tenant ",
        "✓ Intercom accepts it; workspace ",
        "What is next:",
    ] {
        assert!(ended.stdout.contains(words), "{words:?} is missing in {}", ended.stdout);
    }
    for name in ["DATABASE_URL", "KEAP_API_KEY", "INTERCOM_ACCESS_TOKEN"] {
        let file = folder.path().join("sync/credentials").join(name);
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), world.env[name], "{name}");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let credentials = std::fs::metadata(folder.path().join("sync/credentials")).unwrap();
    assert_eq!(credentials.permissions().mode() & 0o777, 0o700);

    // The printed commands work as they are.
    let next = ended.stdout.lines().find(|line| line.ends_with(" check")).unwrap().trim();
    let next = next.replace("keap-intercom-sync", "\"$0\"");
    let script = format!(
        "unset DATABASE_URL KEAP_API_KEY INTERCOM_ACCESS_TOKEN API_TOKEN KEAP_WEBHOOK_SECRET; {next}"
    );
    let checked = Process::by_shell(&world, &script, Stdio::null()).ended().await.expect(0);
    assert!(checked.stdout.contains("✓ intercom"), "{checked:#?}");

    // So does the dry run, before any daemon has made the tables.
    let next = ended.stdout.lines().find(|line| line.ends_with(" --dry-run")).unwrap().trim();
    let next = next.replace("keap-intercom-sync", "\"$0\"");
    let script = format!(
        "unset DATABASE_URL KEAP_API_KEY INTERCOM_ACCESS_TOKEN API_TOKEN KEAP_WEBHOOK_SECRET; {next}"
    );
    let dry = Process::by_shell(&world, &script, Stdio::null()).ended().await.expect(0);
    assert!(dry.stdout.contains("2 created"), "{dry:#?}");

    // Empty answers keep what is there.
    let again = init(&world, path, &["", "", ""]).await.expect(0);
    assert_eq!(again.stdout.matches('✓').count(), 3, "{again:#?}");
}

#[sqlx::test]
async fn init_gives_up_without_writing_a_wrong_answer(pool: PgPool) {
    let world = quiet_world(pool, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();

    let wrong = "canary-wrong-key-0123456789";
    let ended = init(&world, path, &["$URL", wrong, wrong, wrong]).await.expect(2);

    assert!(ended.stderr.contains("KEAP_API_KEY does not work"), "{ended:#?}");
    assert!(!folder.path().join("credentials/KEAP_API_KEY").exists());
    let ended = init(&world, path, &["nonsense"]).await.expect(2);
    assert!(ended.stdout.contains("✗ DATABASE_URL"), "{ended:#?}");
}

#[sqlx::test]
async fn init_uses_the_settings_that_are_there_and_adds_the_region_to_comments(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let file = folder.path().join("config.toml");
    // The stand-in stands in the file alone, as a proxy would.
    let keap = world.env.remove("KEAP_BASE_URL").unwrap();
    let settings = format!("[keap]\nbase_url = \"{keap}\"\n");
    std::fs::write(&file, &settings).unwrap();
    world.set("INTERCOM_REGION", "au");

    let answers = ["$URL", "$KEAP", "$TOKEN"];
    let ended = init(&world, path, &answers).await.expect(0);

    // This workspace says that it is hosted in the US, which is the default.
    assert!(ended.stdout.contains("region us"), "{ended:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), settings, "a person's file stays");

    std::fs::write(&file, "# only comments\n#[keap]\n").unwrap();
    world.set("KEAP_BASE_URL", keap);
    world.intercom.knobs(|knobs| knobs.region = "EU".into());
    init(&world, path, &answers).await.expect(0);

    let expected = "# only comments\n#[keap]\n\n[intercom]\nregion = \"eu\"\n";
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
}
