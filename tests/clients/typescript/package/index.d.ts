import type { Client, ClientOptions } from "openapi-fetch";
import type { paths } from "./schema.js";

export type * from "./schema.js";
/** Calls of `baseUrl`, typed by the contract. */
export declare const createClient: (options: ClientOptions & { baseUrl: string }) => Client<paths>;
