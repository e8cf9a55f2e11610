// Imported from here: packages are found from the folder of the file that imports them.
export { EntitySchema, MikroORM } from '@mikro-orm/postgresql';
