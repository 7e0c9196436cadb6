locals {
  # From SIGTERM to SIGKILL a worker has its longest job and 60 s more: the chart's terminationGracePeriodSeconds.
  graceful_seconds = var.max_job_seconds + 60
  drain_minutes    = ceil(local.graceful_seconds / 60)

  # 50, not AKS's 250: AKS keeps 20 MB of memory back for each pod that may come, and with 50 a Standard_D4s_v5 has the
  # 14 GiB that the sizing guide counts on. 7 workers and some DaemonSets need no more.
  max_pods = 50

  node_label  = "longhaul.dev/nodes"
  spot_label  = "kubernetes.azure.com/scalesetpriority"
  spot_taint  = "${local.spot_label}=spot:NoSchedule"
  system_name = "system"
  user_name   = "user"
}
