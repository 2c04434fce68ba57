//! What readers see.

use super::*;
use crate::{MAX_PAGE, TaskQuery};

fn all_of(project: ProjectId) -> TaskQuery {
    TaskQuery {
        project,
        tool: None,
        descending: false,
        start: 0,
        limit: 100,
    }
}

/// The numbers of a page, and how many tasks there are in all.
async fn page(bench: &Bench, query: TaskQuery) -> (Vec<i64>, u64) {
    let (tasks, total) = bench.store.list(query).await.expect("list");
    (tasks.iter().map(|task| task.id.0).collect(), total)
}

pub(super) async fn everything_submitted_comes_back(bench: &Bench) {
    let mut new = new_task(bench.project);
    let parameters = json!({
        "z last in the alphabet": "first in the map",
        "prompt": "Ünïcödé \"quoted\" \u{1F36A}\0\n",
        "numbers": [0, -1, 0.1, 1e300, u64::MAX],
        "nested": {"null": null, "yes": true},
    });
    new.parameters = serde_json::from_value(parameters).expect("an object");
    new.tool = ToolSlug::new("black-forest-labs", "flux-pro-1.1");
    new.callback_url = Some("https://example.com/hook?a=b".to_owned());
    new.warnings = vec!["first".to_owned(), "second".to_owned()];

    let submitted = bench.store.submit(new.clone(), after(3)).await;
    let submitted = submitted.expect("submit");
    assert_eq!(submitted.uuid, new.uuid);
    assert_eq!(submitted.token, new.token);
    assert_eq!(submitted.project, new.project);
    assert_eq!(submitted.tool, new.tool);
    assert_eq!(submitted.parameters, new.parameters);
    assert_eq!(submitted.output_folder, new.output_folder);
    assert_eq!(submitted.callback_url, new.callback_url);
    assert_eq!(submitted.warnings, new.warnings);
    assert_eq!(submitted.state, TaskState::Queued);
    assert_eq!(submitted.times.created, after(3));
    assert_eq!((submitted.epoch, submitted.exit_code), (Epoch(0), None));

    let read = bench.detail(submitted.id).await;
    assert_eq!(read, submitted);
    let keys = |task: &Task| task.parameters.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&read), keys(&submitted), "in the same order");
}

pub(super) async fn a_task_is_found_by_number_and_token_within_its_project(bench: &Bench) {
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let other = other.expect("a second project").id;
    let task = bench.submit().await;
    bench.submit().await;
    for name in [TaskRef::Id(task.id), TaskRef::Token(task.token.clone())] {
        for project in [None, Some(bench.project)] {
            let found = bench.store.detail(&name, project).await.expect("detail");
            assert_eq!(found.as_ref(), Some(&task));
        }
        let found = bench
            .store
            .detail(&name, Some(other))
            .await
            .expect("detail");
        assert_eq!(found, None, "it belongs to another project");
    }
    let unknown = [
        TaskRef::Id(TaskId(0)),
        TaskRef::Id(TaskId(i64::MAX)),
        TaskRef::Token(TaskToken(String::new())),
        TaskRef::Token(TaskToken("no such token".to_owned())),
    ];
    for name in unknown {
        let found = bench.store.detail(&name, None).await.expect("detail");
        assert_eq!(found, None);
    }
}

pub(super) async fn pages_are_ordered_filtered_and_counted(bench: &Bench) {
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let other = other.expect("a second project").id;
    let second_tool = ToolSlug::new("owner", "second");
    for number in 1..=6 {
        let mut task = new_task(if number == 6 { other } else { bench.project });
        if number % 2 == 0 {
            task.tool = second_tool.clone();
        }
        bench.store.submit(task, START).await.expect("submit");
    }

    let all = all_of(bench.project);
    assert_eq!(page(bench, all.clone()).await, (vec![1, 2, 3, 4, 5], 5));
    let newest = TaskQuery {
        descending: true,
        start: 1,
        limit: 2,
        ..all.clone()
    };
    assert_eq!(page(bench, newest).await, (vec![4, 3], 5));
    let of_tool = TaskQuery {
        tool: Some(second_tool),
        ..all.clone()
    };
    assert_eq!(page(bench, of_tool).await, (vec![2, 4], 2));
    let beyond = TaskQuery {
        start: u64::MAX,
        ..all
    };
    assert_eq!(page(bench, beyond).await, (vec![], 5));
    assert_eq!(page(bench, all_of(other)).await, (vec![6], 1));
    assert_eq!(page(bench, all_of(ProjectId(99))).await, (vec![], 0));
}

pub(super) async fn a_page_has_a_bound(bench: &Bench) {
    let submits: Vec<_> = (0..=MAX_PAGE)
        .map(|_| {
            let (store, task) = (Arc::clone(&bench.store), new_task(bench.project));
            tokio::spawn(async move { store.submit(task, START).await })
        })
        .collect();
    for submit in submits {
        submit.await.expect("the caller is well").expect("submit");
    }
    let everything = TaskQuery {
        limit: u64::MAX,
        ..all_of(bench.project)
    };
    let (tasks, total) = bench.store.list(everything).await.expect("list");
    assert_eq!((tasks.len() as u64, total), (MAX_PAGE, MAX_PAGE + 1));
}

pub(super) async fn a_reader_sees_a_completion_whole_or_not_at_all(bench: &Bench) {
    for _ in 0..10 {
        let task = bench.running().await;
        let (store, id) = (Arc::clone(&bench.store), TaskRef::Id(task.id));
        let reader = tokio::spawn(async move {
            loop {
                let seen = store.detail(&id, None).await.expect("detail");
                let seen = seen.expect("the task is there");
                let whole = seen.state == TaskState::Finished;
                assert_eq!(seen.outputs.len(), usize::from(whole), "{seen:?}");
                assert_eq!(seen.exit_code.is_some(), whole, "{seen:?}");
                if whole {
                    return;
                }
            }
        });
        bench.complete(&task, success(&task)).await;
        reader.await.expect("the reader saw nothing half-done");
    }
}
