/**
 * The Cedar schema: what a policy in Cedar can speak of. Printed in `docs/policy.md`, which a test keeps equal.
 *
 * An action is one of the permissions of `facts.ts`; READ, WRITE and SCHEMA are groups of them. Ids of tables, columns and functions are
 * their names joined by dots (`entityId` in `entities.ts`).
 */
import { cedarString } from './text.ts'

export const clusterId = 'cluster'

export const cedarSchema = `// Who asks: a workload or a person, each by a SPIFFE id. It is in every Group whose pattern its id matches, in the Roles that RoleBindings
// give it, in the Person that it is, in the groups that the identity provider says, and in its role of a cloud. These may be patterns:
// Person::"corp/*", ProviderGroup::"corp/analysts", CloudRole::"arn:aws:iam::123456789012:role/*".
entity Group;
entity Role;
entity Person;
entity ProviderGroup;
entity CloudRole;
entity Workload in [Group, Role, Person, ProviderGroup, CloudRole, Workload] {
  spiffeId: String,
  trustDomain: String,
  person?: String,
  groups: Set<String>,
  role?: String,
  claims: Claims,
};

// One for each claim that an IdentityProvider lists in forPolicy; all values are texts, and an absent claim has none: acr: Set<String>.
type Claims = {};

// What is asked for. Ids: Keyspace::"shop", Table::"shop.orders", Column::"shop.orders.id", Function::"shop.price".
entity Cluster;
entity Keyspace in [Cluster] { keyspace: String, system: Bool };
entity Table in [Keyspace, Cluster] { keyspace: String, table: String, system: Bool };
entity Column in [Table, Keyspace, Cluster] { keyspace: String, table: String, column: String, system: Bool };
entity Function in [Keyspace, Cluster] { keyspace: String, function: String, system: Bool };
entity DbRole in [Cluster] { role: String };

type Request = {
  // Absent where the client came by a Unix socket.
  clientAddress?: ipaddr,
  // How the caller proved who it is; two ways stand with + between them, and each by itself in methods.
  authentication: String,
  methods: Set<String>,
  // Of a person behind a workload: those of both, whomever of them is asked about.
  sessionMethods: Set<String>,
  protocol: Long,
  // A PREPARE: consistency, rows and ttlSeconds are not known yet, and every EXECUTE is judged again with them.
  preparing: Bool,
  consistency?: String,
  // LIMIT and TTL, written or bound; absent where there is none.
  rows?: Long,
  ttlSeconds?: Long,
  // The statement has an IF.
  conditional: Bool,
  // UTC. Days are "mon" to "sun".
  minuteOfDay: Long,
  dayOfWeek: String,
};

action READ;
action WRITE;
action SCHEMA;
action SELECT in [READ] appliesTo { principal: Workload, resource: [Table, Column], context: Request };
action MODIFY in [WRITE] appliesTo { principal: Workload, resource: [Table, Column], context: Request };
action UNMASK appliesTo { principal: Workload, resource: [Table, Column], context: Request };
action SCAN, TRUNCATE appliesTo { principal: Workload, resource: [Table], context: Request };
action USE in [READ] appliesTo { principal: Workload, resource: [Keyspace], context: Request };
action EXECUTE appliesTo { principal: Workload, resource: [Function], context: Request };
action ALTER in [SCHEMA] appliesTo {
  principal: Workload, resource: [Cluster, Keyspace, Table, Column, Function, DbRole], context: Request
};
action CREATE, DROP in [SCHEMA] appliesTo {
  principal: Workload, resource: [Cluster, Keyspace, Table, Function, DbRole], context: Request
};
action AUTHORIZE appliesTo { principal: Workload, resource: [Cluster, Keyspace, Table, Function, DbRole], context: Request };
action DESCRIBE in [READ] appliesTo {
  principal: Workload, resource: [Cluster, Keyspace, Table, Function, DbRole], context: Request
};
`

/** The schema of a policy whose identity providers give these claims. */
export function cedarSchemaOf(claims: readonly string[]): string {
  const lines = claims.map((name) => `  ${cedarString(name)}: Set<String>,\n`)
  return cedarSchema.replace('type Claims = {};', () => `type Claims = {\n${lines.join('')}};`)
}
