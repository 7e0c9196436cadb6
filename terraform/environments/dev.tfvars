# Development: everything there is, small, in one zone where that is cheaper, and nothing warm.
name     = "longhaul-dev"
location = "westeurope"
tags     = { stage = "dev" }

assumptions = {
  request_rate_per_second = 5
  concurrent_tasks        = 50
  api_min_replicas        = 2
}

cluster      = { sku_tier = "Free", host_encryption = false }
system_pool  = { min_count = 1, max_count = 2 }
user_pool    = { min_count = 1 }
worker_pools = { batch = { queues = ["batch"], spot = true, max_count = 2 } }
off_hours    = null

network      = { nat_gateway_enabled = false }
postgres     = { sku_name = "B_Standard_B2s", storage_mb = 32768, zone_redundant = false, pgbouncer_enabled = false, backup_retention_days = 7 }
redis        = { sku_name = "Balanced_B0", high_availability = false }
results      = { replication = "LRS", keep_deleted_in_days = 7 }
registry_sku = "Basic"
monitoring   = { daily_quota_gb = 1 }
