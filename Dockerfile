FROM python:3.13-slim

RUN useradd --create-home --uid 10001 drawbreak
WORKDIR /app

COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock

COPY pyproject.toml celeryconfig.py ./
COPY actions/ actions/
COPY api/ api/
COPY cli/ cli/
COPY demo/ demo/
COPY intake/ intake/
COPY migrations/ migrations/
COPY models/ models/
COPY reports/ reports/
COPY rules/ rules/
COPY runtime/ runtime/
COPY tasks/ tasks/
COPY workers/ workers/
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && install -d -m 700 -o drawbreak -g drawbreak /var/lib/drawbreak

USER drawbreak
ENV VAR=/var/lib/drawbreak PYTHONUNBUFFERED=1
VOLUME /var/lib/drawbreak
ENTRYPOINT ["drawbreak"]
CMD ["serve", "api"]
