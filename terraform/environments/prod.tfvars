# Production: the sizing guide's case over three zones, reached from the network alone.
name     = "longhaul-prod"
location = "westeurope"
tags     = { stage = "prod" }

cluster = {
  private          = true
  upgrade_channel  = "stable"
  defender_enabled = true
}

postgres = { backup_retention_days = 35, geo_redundant_backup = true }
redis    = { sku_name = "Balanced_B1" }
results  = { replication = "ZRS", keep_deleted_in_days = 35 }

monitoring = { retention_in_days = 90, daily_quota_gb = 20 }
