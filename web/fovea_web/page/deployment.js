/** What the server offers, as /v1/deployment tells it. */

/** Verbs by their own names, with the path that they are asked at. */
export class Deployment {
  /** record: {verbs: [{name, verb, members}], members: [{name, family, role, …}], search}. */
  constructor(record) {
    this.verbs = record.verbs ?? [];
    this.search = record.search ?? null;
    this.members = new Map((record.members ?? []).map((member) => [member.name, member]));
  }

  /** Those that do what `kind` names ("detect"), under whatever names. */
  of(kind) {
    return this.verbs.filter((verb) => verb.verb === kind);
  }

  offers(kind) {
    return this.of(kind).length > 0;
  }

  /** The members that answer a verb: [{slot, name, family, role, licence, class_names}]. */
  membersOf(verb) {
    return Object.entries(verb.members).map(([slot, name]) => ({ slot, name, ...this.members.get(name) }));
  }

  /** Class names of the member that finds or classifies in a verb; empty where words are open. */
  classesOf(verb) {
    return this.membersOf(verb).find((member) => member.class_names?.length)?.class_names ?? [];
  }
}

export const pathOf = (kind) => `v1/${kind.replaceAll("_", "-")}`;

/** The parameter that names a verb, where a deployment gave it a name of its own. */
export const named = (verb) => (verb.name === verb.verb ? {} : { verb: verb.name });
