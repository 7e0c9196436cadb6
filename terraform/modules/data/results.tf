resource "azurerm_storage_account" "results" {
  #checkov:skip=CKV2_AZURE_33:It has a private endpoint, in main.tf; the check can't see through for_each.
  #checkov:skip=CKV2_AZURE_1:The platform's keys encrypt it; a key of one's own is the subscription's to decide.
  #checkov:skip=CKV_AZURE_206:Three zones by default (results.replication), where the check wants another region: results are of use only beside their ledger.
  #checkov:skip=CKV_AZURE_33:There are no queues in it.
  count = var.results.enabled ? 1 : 0

  name                             = substr("${replace(var.name, "-", "")}${var.suffix}", 0, 24)
  resource_group_name              = var.resource_group_name
  location                         = var.location
  account_tier                     = "Standard"
  account_kind                     = "StorageV2"
  account_replication_type         = var.results.replication
  min_tls_version                  = "TLS1_2"
  https_traffic_only_enabled       = true
  shared_access_key_enabled        = false # identities only
  default_to_oauth_authentication  = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  local_user_enabled               = false
  public_network_access_enabled    = false
  tags                             = var.tags

  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
  }

  # A ledger that is restored from a backup has jobs again whose results were deleted since.
  blob_properties {
    delete_retention_policy {
      days = var.results.keep_deleted_in_days
    }
    container_delete_retention_policy {
      days = var.results.keep_deleted_in_days
    }
  }
}

# By way of Azure Resource Manager, which needs no way to the account itself.
resource "azurerm_storage_container" "results" {
  #checkov:skip=CKV2_AZURE_21:Reads are the API's own, which logs and measures them.
  count = var.results.enabled ? 1 : 0

  name                  = "longhaul"
  storage_account_id    = azurerm_storage_account.results[0].id
  container_access_type = "private"
}
