run "the_guide" {
  command = apply

  assert {
    condition = (
      output.api_min_replicas == 3 && output.api_max_replicas == 8 &&
      output.worker_max_replicas == 200 && output.keda_target == 5 &&
      output.peak_cpu == 102 && output.peak_memory_gib == 102 &&
      output.guide_nodes == 27 && output.guide_nodes_max == 30
    )
    error_message = "These are the guide's own figures."
  }
  assert {
    condition     = output.workers_per_node == 7 && output.packed_nodes == 30 && output.packed_nodes_max == 33
    error_message = "28 nodes hold 7 workers and no API pod each, the 29th holds 4 workers and 6 API pods, the 30th the last 2."
  }
  assert {
    condition     = output.oversubscription == 5
    error_message = "5 tasks of 0.5 vCPU run on a pod that requests 0.5."
  }
}

run "without_oversubscription" {
  command = apply
  variables { assumptions = { tasks_per_worker = 1 } }

  assert {
    condition     = output.worker_max_replicas == 1000 && output.oversubscription == 1 && output.packed_nodes == 144
    error_message = "142 nodes hold 7 workers each, the 143rd holds 6 and 2 API pods, the 144th the other 6."
  }
}

run "no_task_at_once" {
  command = plan
  variables { assumptions = { concurrent_tasks = 0 } }
  expect_failures = [var.assumptions]
}

run "daemons_that_give" {
  command = plan
  variables { assumptions = { node_daemons_cpu = -1 } }
  expect_failures = [var.assumptions]
}

run "a_headroom_that_takes" {
  command = plan
  variables { assumptions = { node_headroom = 0.9 } }
  expect_failures = [var.assumptions]
}

run "half_a_slot" {
  command = plan
  variables { assumptions = { tasks_per_worker = 2.5 } }
  expect_failures = [var.assumptions]
}

run "a_worker_larger_than_a_node" {
  command = plan
  variables { assumptions = { worker_cpu = 3.6 } }
  expect_failures = [var.assumptions]
}
