import {
  BadRequestException,
  Injectable,
  type PipeTransform,
} from '@nestjs/common';

const BEHAVIOURS = ['answers', 'fails', 'refuses'] as const;

/** What the page asks. */
export class Question {
  /** The answer's id. The page makes it, so that it can name the answer after a reload. */
  id!: string;
  text!: string;
  /** How long the answer may be. */
  tokens!: number;
  /** How long it is made without a client, in milliseconds. */
  orphanMs!: number;
  /** How the local generator behaves. A model behaves as it likes. */
  behaviour!: (typeof BEHAVIOURS)[number];
}

/** Takes a question apart that came as JSON, and refuses what is none. */
@Injectable()
export class QuestionPipe implements PipeTransform<unknown, Question> {
  transform(body: unknown): Question {
    const { id, text, tokens, orphanMs, behaviour } = Object(
      body,
    ) as Partial<Question>;
    check('id', typeof id === 'string' && /^[\w-]{8,64}$/.test(id));
    check('text', typeof text === 'string' && /^.{1,2000}$/s.test(text));
    check('tokens', isWithin(tokens, 1, 6_000));
    check('orphanMs', isWithin(orphanMs, 1_000, 600_000));
    check('behaviour', BEHAVIOURS.includes(behaviour!));
    return { id, text, tokens, orphanMs, behaviour } as Question;
  }
}

function check(field: keyof Question, isGood: boolean): void {
  if (!isGood) {
    throw new BadRequestException(`${field} is missing, or wrong.`);
  }
}

function isWithin(value: unknown, least: number, most: number): boolean {
  return (
    Number.isInteger(value) && Number(value) >= least && Number(value) <= most
  );
}
