# One identity a component. A pod proves who it is with its ServiceAccount's token: no password, no key.
resource "azurerm_user_assigned_identity" "this" {
  for_each = var.service_accounts

  name                = "${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_federated_identity_credential" "this" {
  for_each = var.service_accounts

  name                      = "kubernetes"
  user_assigned_identity_id = azurerm_user_assigned_identity.this[each.key].id
  issuer                    = var.oidc_issuer_url
  subject                   = "system:serviceaccount:${var.namespace}:${each.value}"
  audience                  = ["api://AzureADTokenExchange"]
}

locals {
  blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"

  # What docs/how-to/store-large-results.md asks for, and no more. Azure's own roles can't part reading from listing, or
  # writing from deleting.
  results = var.results_enabled ? {
    api        = ["${local.blobs}/read"]
    worker     = ["${local.blobs}/write", "${local.blobs}/add/action"]
    controller = ["${local.blobs}/read", "${local.blobs}/delete", "${local.blobs}/write"] # a batch of deletions is a write
  } : {}
}

resource "azurerm_role_definition" "results" {
  for_each = local.results

  name              = "${var.name} results ${each.key} ${substr(sha256(var.role_scope), 0, 6)}" # unique in the tenant
  description       = "What Longhaul's ${each.key} does with results in object storage."
  scope             = var.role_scope
  assignable_scopes = [var.role_scope]

  permissions {
    data_actions = each.value
  }
}

resource "azurerm_role_assignment" "results" {
  for_each = local.results

  scope              = var.results_container_id
  role_definition_id = azurerm_role_definition.results[each.key].role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.this[each.key].principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "secrets" {
  for_each = var.secret_ids

  scope                = each.value
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.this["secrets"].principal_id
  principal_type       = "ServicePrincipal"
}
